package bench

import (
	"slices"
	"testing"
	"time"
)

// sample is one measured boot up to ready.
type sample struct {
	// Kernel is the time since the start of the kernel.
	Kernel time.Duration
	// Wall is the time since the start of QEMU.
	Wall time.Duration
	// CPU is the time that QEMU has computed. Other work on the host makes
	// it less wrong than the other two.
	CPU time.Duration
}

// series are the samples of one way to boot.
type series []sample

// column returns one of the times of all samples, sorted.
func (s series) column(get func(sample) time.Duration) []time.Duration {
	all := make([]time.Duration, len(s))
	for i := range s {
		all[i] = get(s[i])
	}
	slices.Sort(all)
	return all
}

func (s series) kernel() []time.Duration {
	return s.column(func(x sample) time.Duration { return x.Kernel })
}
func (s series) wall() []time.Duration {
	return s.column(func(x sample) time.Duration { return x.Wall })
}
func (s series) cpu() []time.Duration {
	return s.column(func(x sample) time.Duration { return x.CPU })
}

// median of sorted times; of an even number the mean of the middle two, of none
// zero.
func median(sorted []time.Duration) time.Duration {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		in   []time.Duration
		want time.Duration
	}{
		{nil, 0}, {[]time.Duration{7}, 7}, {[]time.Duration{1, 9}, 5}, {[]time.Duration{1, 2, 9}, 2},
	} {
		if got := median(test.in); got != test.want {
			t.Errorf("median of %v: %v, want %v", test.in, got, test.want)
		}
	}
	s := series{{Kernel: 3, Wall: 1}, {Kernel: 1, Wall: 2}, {Kernel: 2, Wall: 3}}
	if got := s.kernel(); !slices.Equal(got, []time.Duration{1, 2, 3}) {
		t.Errorf("kernel times %v are not sorted", got)
	}
}

// smallest finds the smallest multiple of step above low, and up to high, for
// which works is true, given that it is true for high and for all that is more
// than the answer. It returns also what the largest tried one said that failed.
func smallest(low, high, step int, works func(int) (ok bool, said string, err error)) (n int, below string, err error) {
	for high-low > step {
		middle := low + (high-low)/2/step*step
		ok, said, err := works(middle)
		switch {
		case err != nil:
			return 0, "", err
		case ok:
			high = middle
		default:
			low, below = middle, said
		}
	}
	return high, below, nil
}

func TestSmallest(t *testing.T) {
	for want := 72; want <= 512; want += 8 {
		tries := 0
		got, below, err := smallest(64, 512, 8, func(n int) (bool, string, error) {
			if tries++; n%8 != 0 || n <= 64 || n >= 512 {
				t.Errorf("tries %d", n)
			}
			return n >= want, "too little", nil
		})
		if err != nil || got != want || tries > 6 {
			t.Errorf("%d after %d tries, %v; want %d", got, tries, err, want)
		}
		if want > 72 && below == "" {
			t.Errorf("%d: nothing about what is below", want)
		}
	}
}

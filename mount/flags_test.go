package mount

import (
	"reflect"
	"testing"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Options
	}{
		{"", Options{}},
		{"defaults,noauto,nofail,x-foo=1", Options{}},
		{"ro,nosuid,nodev,noexec", Options{Set: ReadOnly | NoSUID | NoDev | NoExec}},
		{"ro,rw", Options{Clear: ReadOnly}},
		{"rw,ro", Options{Set: ReadOnly}},
		{"rbind", Options{Set: Bind | Recursive}},
		{"remount,bind,ro", Options{Set: Remount | Bind | ReadOnly}},
		{"noatime", Options{Set: NoATime, Clear: RelATime | StrictATime}},
		{"noatime,relatime", Options{Set: RelATime, Clear: NoATime | StrictATime}},
		{"rshared", Options{Set: Shared | Recursive, Clear: Private | Slave | Unbindable}},
		{"size=1M,ro,mode=755", Options{Set: ReadOnly, Data: "size=1M,mode=755"}},
		{"loop,ro", Options{Set: ReadOnly, Loop: true}},
		{`context="a,b",ro`, Options{Set: ReadOnly, Data: `context="a,b"`}},
		{`lowerdir=/a\,b,ro`, Options{Set: ReadOnly, Data: `lowerdir=/a\,b`}},
		{",,ro,", Options{Set: ReadOnly}},
	} {
		if got := ParseOptions(c.in); got != c.want {
			t.Errorf("%q: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestFlagsString(t *testing.T) {
	for want, f := range map[string]Flags{
		"rw":                      0,
		"ro,nosuid,nodev,noexec":  ReadOnly | NoSUID | NoDev | NoExec,
		"remount,bind":            Remount | Bind,
		"rbind":                   Bind | Recursive,
		"rbind,rprivate":          Bind | Recursive | Private,
		"private":                 Private,
		"nosymfollow,strictatime": NoSymFollow | StrictATime,
	} {
		if got := f.String(); got != want {
			t.Errorf("%#x: got %q, want %q", uint64(f), got, want)
		}
	}
}

func TestSuperblockWords(t *testing.T) {
	if got := superblock(ReadOnly|NoSUID|Sync, LazyTime); !reflect.DeepEqual(got, []string{"ro", "sync", "nolazytime"}) {
		t.Errorf("got %v", got)
	}
	if got := superblock(0, ReadOnly); !reflect.DeepEqual(got, []string{"rw"}) {
		t.Errorf("got %v", got)
	}
}

func TestKeyValue(t *testing.T) {
	for in, want := range map[string][2]string{
		"size=1M": {"size", "1M"}, "prjquota": {"prjquota", ""}, `context="a,b"`: {"context", "a,b"}, "a=b=c": {"a", "b=c"}, `a="`: {"a", `"`},
	} {
		if k, v, _ := keyValue(in); k != want[0] || v != want[1] {
			t.Errorf("%q: got %q, %q", in, k, v)
		}
	}
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{"ro,nosuid,size=1M", "rbind,rshared", "loop,rw,atime", `a="b,c",d\,e`, "noatime,atime,,x-a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o := ParseOptions(s)
		if o.Set&o.Clear != 0 {
			t.Errorf("%q: %v is both set and cleared", s, o.Set&o.Clear)
		}
		again := ParseOptions(o.String())
		if again.Set != o.Set || again.Data != o.Data || again.Loop != o.Loop {
			t.Errorf("%q is written as %q, which reads %+v and not %+v", s, o, again, o)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	f.Add("64M")
	f.Add("65536k")
	f.Add("18446744073709551615T")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseSize(s); err == nil && n == 0 && s[0] != '0' {
			t.Errorf("%q reads as nothing", s)
		}
		normal("size=" + s)
	})
}

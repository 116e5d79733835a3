package pid1

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	rpcstatus "google.golang.org/grpc/status"

	"ichor/applets"
	"ichor/rpc"
	machinev1 "ichor/rpc/machine/v1"
)

func TestArguments(t *testing.T) {
	for _, test := range []struct {
		line  string
		want  func(*arguments)
		wrong string
	}{
		{"", func(*arguments) {}, ""},
		{"quiet panic=10 ichor.shell", func(a *arguments) { a.shell = true }, ""},
		{"ichor.shell=ttyS0,tty2", func(a *arguments) { a.shell, a.ttys = true, []string{"ttyS0", "tty2"} }, ""},
		{"ichor.disk=/dev/vda ichor.disk-wait=5s ichor.fail-wait=0s", func(a *arguments) {
			a.disk, a.diskWait, a.failWait = "/dev/vda", 5*time.Second, 0
		}, ""},
		{"-- ichor.shell", func(*arguments) {}, ""},
		{"ichor.shel ichor.shell", func(a *arguments) { a.shell = true },
			"wrong kernel argument ichor.shel: no such argument; there are ichor.shell, ichor.disk, ichor.disk-wait, ichor.fail-wait, ignoring"},
		{"ichor.shell=../sda", func(*arguments) {}, `wrong kernel argument ichor.shell=../sda: "../sda" is not the name of a terminal such as ttyS0, ignoring`},
		{"ichor.disk=vda", func(*arguments) {}, `wrong kernel argument ichor.disk=vda: "vda" is not the path of a disk such as /dev/vda, ignoring`},
		{"ichor.disk=/dev/../etc", func(*arguments) {}, `wrong kernel argument ichor.disk=/dev/../etc: "/dev/../etc" is not the path of a disk such as /dev/vda, ignoring`},
		{"ichor.disk-wait=soon", func(*arguments) {}, `wrong kernel argument ichor.disk-wait=soon: "soon" is not a duration from 0s to 1h0m0s, such as 30s, ignoring`},
		{"ichor.disk-wait=-1s", func(*arguments) {}, `wrong kernel argument ichor.disk-wait=-1s: "-1s" is not a duration from 0s to 1h0m0s, such as 30s, ignoring`},
	} {
		want := defaultArguments()
		test.want(&want)
		got, wrong := parseArguments(test.line)
		if got.shell != want.shell || strings.Join(got.ttys, ",") != strings.Join(want.ttys, ",") || got.disk != want.disk ||
			got.diskWait != want.diskWait || got.failWait != want.failWait {
			t.Errorf("%q gives %+v, want %+v", test.line, got, want)
		}
		text := ""
		for _, err := range wrong {
			text += err.Error()
		}
		if text != test.wrong {
			t.Errorf("%q is wrong because of\n%q, want\n%q", test.line, text, test.wrong)
		}
	}
}

func FuzzArguments(f *testing.F) {
	f.Add("quiet ichor.shell=ttyS0 ichor.disk=/dev/vda ichor.disk-wait=3s -- x")
	f.Fuzz(func(t *testing.T, line string) {
		a, _ := parseArguments(line)
		if a.disk != "" && (!strings.HasPrefix(a.disk, "/dev/") || strings.Contains(a.disk, "..")) {
			t.Errorf("disk %q", a.disk)
		}
		for _, tty := range a.ttys {
			if strings.Contains(tty, "/") {
				t.Errorf("terminal %q", tty)
			}
		}
	})
}

func TestParseUevent(t *testing.T) {
	e, ok := parseUevent([]byte("add@/devices/x\x00ACTION=add\x00MODALIAS=virtio:d00000002v00001AF4\x00SEQNUM=7\x00"))
	if !ok || e["ACTION"] != "add" || e["MODALIAS"] != "virtio:d00000002v00001AF4" {
		t.Errorf("got %v, %v", e, ok)
	}
	for _, bad := range []string{"", "libudev\x00\xfe\xed", "@x\x00ACTION=add"} {
		if e, ok := parseUevent([]byte(bad)); ok {
			t.Errorf("%q is taken for %v", bad, e)
		}
	}
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte("add@/devices/x\x00ACTION=add\x00MODALIAS=pci:v\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _ := parseUevent(b)
		for k, v := range e {
			if strings.ContainsAny(k, "=\x00") || strings.Contains(v, "\x00") {
				t.Errorf("%q=%q", k, v)
			}
		}
	})
}

// ticking returns a clock that advances by a second with each look.
func ticking() func() time.Duration {
	var now time.Duration
	return func() time.Duration { now += time.Second; return now }
}

func TestPhases(t *testing.T) {
	s := &status{clock: ticking()}
	boom := errors.New("boom")
	r, err := s.run(context.Background(), phase{"first", []task{
		{"well", func(context.Context) error { return nil }},
		{"bad", func(context.Context) error { return boom }},
		{"panics", func(context.Context) error { panic("no") }},
	}})
	if !errors.Is(err, boom) || err.Error() != "phase first: bad: boom" {
		t.Errorf("got error %v", err)
	}
	if r.Tasks[0].Err != "" || r.Tasks[1].Err != "boom" || r.Tasks[2].Err != "internal error: no" {
		t.Errorf("got records %+v %+v %+v", r.Tasks[0], r.Tasks[1], r.Tasks[2])
	}
	handed := &status{clock: ticking()}
	handed.takeOver(s.handOver())
	m := handed.message()
	if len(m.Phases) != 1 || m.Phases[0].GetError() != err.Error() || len(m.Phases[0].GetTasks()) != 3 {
		t.Errorf("after handing over: %v", m)
	}
	handed.takeOver("{")
	if len(handed.message().Phases) != 1 {
		t.Error("garbage from /init replaces the records")
	}
	if m.ReadyAfter != nil {
		t.Error("ready before it is")
	}
	handed.setReady()
	if m := handed.message(); m.Stage != machinev1.Stage_STAGE_READY || m.ReadyAfter.AsDuration() <= 0 {
		t.Errorf("not ready: %v", m)
	}
}

// TestTasksRunSideBySide would not end if one task waited for the other's end.
func TestTasksRunSideBySide(t *testing.T) {
	a, b := make(chan struct{}), make(chan struct{})
	meet := func(mine, other chan struct{}) func(context.Context) error {
		return func(context.Context) error { close(mine); <-other; return nil }
	}
	s := &status{clock: ticking()}
	if _, err := s.run(context.Background(), phase{"p", []task{{"a", meet(a, b)}, {"b", meet(b, a)}}}); err != nil {
		t.Error(err)
	}
}

func TestMachineID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "machine-id")
	first, err := machineID(path)
	if err != nil || len(first) != 32 || first[12] != '4' {
		t.Fatalf("made %q, %v", first, err)
	}
	if again, err := machineID(path); err != nil || again != first {
		t.Errorf("then read %q, %v; want %q", again, err, first)
	}
	for _, bad := range []string{"", "abc\n", strings.Repeat("Z", 32), strings.ToUpper(first)} {
		os.Remove(path)
		if err := os.WriteFile(path, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if id, err := machineID(path); err == nil {
			t.Errorf("%q is taken for the machine ID %q", bad, id)
		}
		if kept, _ := os.ReadFile(path); string(kept) != bad {
			t.Errorf("%q was replaced by %q", bad, kept)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	file, sum := filepath.Join(dir, "f"), filepath.Join(dir, "s")
	os.WriteFile(file, []byte("abc"), 0o644)
	// As the tool xxhsum -H64 prints it.
	os.WriteFile(sum, []byte("44bc2cf5ad770999\n"), 0o644)
	if err := verify(file, sum); err != nil {
		t.Error(err)
	}
	os.WriteFile(file, []byte("abd"), 0o644)
	if err := verify(file, sum); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a changed file: %v", err)
	}
}

// TestReaper is its own child reaper: orphans are not sent here, so what is
// left is the race of start and end, and the words.
func TestReaper(t *testing.T) {
	r := newReaper()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				r.reap()
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for range 50 {
		_, ended, err := r.start("/bin/true", []string{"true"}, &syscall.ProcAttr{})
		if err != nil {
			t.Fatal(err)
		}
		if ws := <-ended; ws.ExitStatus() != 0 {
			t.Fatalf("true ended with %v", ws)
		}
	}
	out, err := r.run(context.Background(), "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
	if string(out) != "out\nerr\n" || err == nil || err.Error() != "/bin/sh ended with exit code 3" {
		t.Errorf("got %q, %v", out, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.run(ctx, "/bin/sleep", "100"); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("after cancel: %v", err)
	}
	if _, err := r.run(context.Background(), "nosuchprogram"); err == nil {
		t.Error("a program that is not there runs")
	}
	if _, _, err := r.start("/nonexistent", []string{"x"}, &syscall.ProcAttr{}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("start of nothing: %v", err)
	}
}

// TestServices talks to the services of PID 1 as a shell would, without being
// PID 1.
func TestServices(t *testing.T) {
	env := &applets.Env{Version: "v1.2.3", Table: applets.Table{
		{Name: "init", Service: "machine", Home: applets.InProcess},
		{Name: "shell", Calls: []string{"machine"}},
		{Name: "stranger"},
	}}
	m := newMachine(env)
	ctx := context.Background()
	cc, err := m.broker.As(rpc.Peer{Applet: "shell"}).Dial(ctx, "machine")
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	client := machinev1.NewMachineServiceClient(cc)
	v, err := client.Version(ctx, &machinev1.VersionRequest{})
	if err != nil || v.GetVersion() != "v1.2.3" || v.GetKernel() == "" {
		t.Errorf("version: %v, %v", v, err)
	}
	s, err := client.Status(ctx, &machinev1.StatusRequest{})
	if err != nil || s.GetStage() != machinev1.Stage_STAGE_BOOTING || s.GetFirmware() == "" {
		t.Errorf("status: %v, %v", s, err)
	}
	if _, err := client.Shutdown(ctx, &machinev1.ShutdownRequest{}); rpcstatus.Code(err) != codes.InvalidArgument {
		t.Errorf("shutdown without an ending: %v", err)
	}
	for _, who := range []string{"stranger", "nobody"} {
		if _, err := m.broker.As(rpc.Peer{Applet: who}).Dial(ctx, "machine"); rpcstatus.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", who, err)
		}
	}
}

func TestNotPID1(t *testing.T) {
	var out strings.Builder
	env := &applets.Env{Name: "init", Stdio: applets.Stdio{Out: &out}}
	if err := Run(context.Background(), env, nil); applets.ExitCode(err) != applets.ExitUsage {
		t.Errorf("init as an ordinary process: %v", err)
	}
	if err := Run(context.Background(), env, []string{"--help"}); err != nil || !strings.Contains(out.String(), "ichor.disk-wait") {
		t.Errorf("help: %v\n%s", err, out.String())
	}
}

package rpc

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// echoServer answers a health check; the name of the service picks what it does.
type echoServer struct {
	grpc_health_v1.UnimplementedHealthServer
}

func (echoServer) Check(ctx context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	switch r.Service {
	case "panic":
		panic("on request")
	case "die":
		os.Exit(3)
	case "peer":
		p, ok := PeerFrom(ctx)
		return nil, status.Errorf(codes.Aborted, "%v %v", p, ok)
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func register(r grpc.ServiceRegistrar) error {
	grpc_health_v1.RegisterHealthServer(r, echoServer{})
	return nil
}

// TestMain lets the test binary be a child: a provider or a consumer.
func TestMain(m *testing.M) {
	switch os.Getenv("ICHOR_TEST_CHILD") {
	case "provider":
		c, err := Inherit(3)
		if err != nil {
			panic(err)
		}
		s := NewServer()
		register(s)
		s.Serve(c.Listener())
		os.Exit(0)
	case "consumer":
		c, err := Inherit(3)
		if err != nil {
			panic(err)
		}
		if err := check(c, "echo", ""); err != nil {
			os.Stdout.WriteString(status.Code(err).String())
			os.Exit(1)
		}
		os.Stdout.WriteString("OK")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func check(d Dialer, service, what string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cc, err := d.Dial(ctx, service)
	if err != nil {
		return err
	}
	defer cc.Close()
	_, err = grpc_health_v1.NewHealthClient(cc).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: what})
	return err
}

func startChild(t *testing.T, b *Broker, role, service string, who Peer) (*exec.Cmd, <-chan error, *strings.Builder) {
	t.Helper()
	ours, theirs, err := ControlPair()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ICHOR_TEST_CHILD="+role)
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	done := make(chan error, 1)
	go func() { done <- b.ServeChild(context.Background(), ours, who, service) }()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, done, &out
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 20 s", what)
}

func TestInProcess(t *testing.T) {
	b := &Broker{}
	defer b.Stop()
	b.Serve("echo", register)
	d := b.As(Peer{Applet: "test", PID: 7, UID: 8})
	if err := check(d, "echo", ""); err != nil {
		t.Fatal(err)
	}
	if got, want := Text(check(d, "echo", "peer")), "test (pid 7, uid 8) true"; got != want {
		t.Errorf("the provider sees %q, want %q", got, want)
	}
	if got := status.Code(check(d, "nothing", "")); got != codes.Unavailable {
		t.Errorf("a service that is not there gives %v, want Unavailable", got)
	}
}

func TestPanicInHandler(t *testing.T) {
	b := &Broker{}
	defer b.Stop()
	b.Serve("echo", register)
	d := b.As(Peer{Applet: "test"})
	if err := check(d, "echo", "panic"); status.Code(err) != codes.Internal {
		t.Errorf("a panic gives %v, want Internal", err)
	}
	if err := check(d, "echo", ""); err != nil {
		t.Errorf("after a panic: %v", err)
	}
}

func TestGrants(t *testing.T) {
	var denied []string
	b := &Broker{
		Granted: func(applet, service string) bool { return applet == "friend" },
		Denied:  func(from Peer, service string) { denied = append(denied, from.Applet+" "+service) },
	}
	defer b.Stop()
	b.Serve("echo", register)
	if err := check(b.As(Peer{Applet: "friend"}), "echo", ""); err != nil {
		t.Error(err)
	}
	if err := check(b.As(Peer{Applet: "stranger"}), "echo", ""); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a stranger gets %v, want PermissionDenied", err)
	}
	if len(denied) != 1 || denied[0] != "stranger echo" {
		t.Errorf("refusals told: %q", denied)
	}
}

func TestChildConsumer(t *testing.T) {
	for _, c := range []struct {
		granted bool
		want    string
	}{{true, "OK"}, {false, "PermissionDenied"}} {
		b := &Broker{Granted: func(string, string) bool { return c.granted }}
		b.Serve("echo", register)
		cmd, done, out := startChild(t, b, "consumer", "", Peer{Applet: "child"})
		cmd.Wait()
		if err := <-done; err != nil {
			t.Errorf("control socket ended with %v", err)
		}
		if out.String() != c.want {
			t.Errorf("granted %v: the child got %q, want %q", c.granted, out, c.want)
		}
		b.Stop()
	}
}

// TestChildProvider kills a provider: consumers see Unavailable, then reach
// its successor over the ClientConn they already hold.
func TestChildProvider(t *testing.T) {
	b := &Broker{}
	defer b.Stop()
	running := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.providers["echo"] != nil
	}
	d := b.As(Peer{Applet: "test", PID: 1, UID: 2})
	_, done, _ := startChild(t, b, "provider", "echo", Peer{Applet: "echo"})
	waitFor(t, "first provider", running)
	cc, err := d.Dial(context.Background(), "echo")
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	call := func(what string) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := grpc_health_v1.NewHealthClient(cc).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: what})
		return err
	}
	if err := call(""); err != nil {
		t.Fatal(err)
	}
	if got, want := Text(call("peer")), "test (pid 1, uid 2) true"; got != want {
		t.Errorf("the provider sees %q, want %q", got, want)
	}
	if err := call("die"); status.Code(err) != codes.Unavailable {
		t.Errorf("a call in flight fails with %v, want Unavailable", err)
	}
	if err := <-done; err != nil {
		t.Errorf("control socket ended with %v", err)
	}
	if err := call(""); status.Code(err) != codes.Unavailable {
		t.Errorf("without a provider: %v, want Unavailable", err)
	}
	startChild(t, b, "provider", "echo", Peer{Applet: "echo"})
	waitFor(t, "the successor answers", func() bool { return call("") == nil })
}

func TestControlClosed(t *testing.T) {
	ours, theirs, err := ControlPair()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(theirs.Fd())) // Inherit takes it over
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	c, err := Inherit(fd)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
	if err := check(c, "echo", ""); status.Code(err) != codes.Unavailable {
		t.Errorf("Dial gives %v, want Unavailable", err)
	}
	if _, err := c.Listener().Accept(); err != net.ErrClosed {
		t.Errorf("Accept gives %v, want %v", err, net.ErrClosed)
	}
}

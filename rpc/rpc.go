// Package rpc is the bus: gRPC connections that are given, never looked up.
// The contracts lie in the folders below it, one per service and version.
//
// A connection is one fresh socketpair(2). No socket has a path or a port, so
// nothing outside the process tree can knock. The Broker of PID 1 decides from
// the applet table who may reach what; a provider sees a net.Listener and a
// consumer a *grpc.ClientConn, whether they share a process or not.
//
// It is not for connections to other machines.
package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Dialer gives connections to services by name.
type Dialer interface {
	// Dial returns a connection to a service such as "mount". It fails with
	// the gRPC code Unimplemented if there is no such service, PermissionDenied
	// if the caller may not reach it, and Unavailable if its provider is gone.
	// The caller closes the connection.
	Dial(ctx context.Context, service string) (*grpc.ClientConn, error)
}

// Peer is the program at the other end of a connection, as PID 1 knows it.
type Peer struct {
	Applet string
	PID    int32
	UID    uint32
}

// Network implements net.Addr.
func (Peer) Network() string { return "socketpair" }

// String returns for example "shell (pid 97, uid 0)".
func (p Peer) String() string {
	return fmt.Sprintf("%s (pid %d, uid %d)", p.Applet, p.PID, p.UID)
}

// PeerFrom returns who made the call that ctx belongs to.
func PeerFrom(ctx context.Context) (Peer, bool) {
	if p, ok := peer.FromContext(ctx); ok {
		who, ok := p.Addr.(Peer)
		return who, ok
	}
	return Peer{}, false
}

// conn is an end of a socketpair that knows who is at the other end.
type conn struct {
	net.Conn
	remote Peer
}

func (c conn) RemoteAddr() net.Addr { return c.remote }

// pair makes a connection; both ends are closed on exec.
func pair() (a, b *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket pair: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "bus"), os.NewFile(uintptr(fds[1]), "bus"), nil
}

// adopt makes a connection from an end and closes f.
func adopt(f *os.File, remote Peer) (net.Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot adopt a socket: %w", err)
	}
	return conn{Conn: c, remote: remote}, nil
}

// listener is a net.Listener whose connections are handed to it.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *listener) hand(c net.Conn) error {
	select {
	case l.conns <- c:
		return nil
	case <-l.closed:
		c.Close()
		return status.Error(codes.Unavailable, "the provider is gone")
	}
}

// Accept returns the next connection that PID 1 hands over.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept fail.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return Peer{Applet: "provider"} }

// NewServer makes a gRPC server with what all servers share: a panic in a
// handler becomes Internal and is reported with its stack.
func NewServer() *grpc.Server {
	return grpc.NewServer(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
			defer recovered(info.FullMethod, &err)
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
			defer recovered(info.FullMethod, &err)
			return next(srv, s)
		}),
	)
}

func recovered(method string, err *error) {
	if r := recover(); r != nil {
		reportPanic(method, r)
		*err = status.Errorf(codes.Internal, "%s: internal error: %v", method, r)
	}
}

func reportPanic(where string, r any) {
	fmt.Fprintf(os.Stderr, "ichor: panic in %s: %v\n%s", where, r, debug.Stack())
}

// Go runs fn on a goroutine of its own. A panic in it is reported and ends
// fn, not the process: whatever runs inside PID 1 starts goroutines with it.
func Go(name string, fn func()) {
	go func() {
		defer func() {
			if r := recover(); r != nil {
				reportPanic(name, r)
			}
		}()
		fn()
	}()
}

// client makes a ClientConn on top of dial, which it calls again whenever gRPC
// wants a new connection: after the idle timeout, or to reach the successor of
// a provider that died. The first connection is made here, so that a service
// that is not to be had is an error of Dial and not of the first call.
func client(ctx context.Context, service string, dial func(context.Context) (net.Conn, error)) (*grpc.ClientConn, error) {
	first, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	ready := make(chan net.Conn, 1)
	ready <- first
	cc, err := grpc.NewClient("passthrough:///"+service,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A new socketpair costs nothing: no need to spare a far-away server.
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 5 * time.Second,
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: time.Second},
		}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case c := <-ready:
				return c, nil
			default:
				return dial(ctx)
			}
		}))
	if err != nil {
		first.Close()
		return nil, err
	}
	cc.Connect()
	return cc, nil
}

// Text returns the message of a gRPC status without its code, for people.
func Text(err error) string {
	if s, ok := status.FromError(err); ok && err != nil {
		return s.Message()
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// closedText says that a Broker or Control is closed.
const closedText = "the bus is closed"

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	busv1 "ichor/rpc/bus/v1"
)

// maxFrame bounds a datagram of the control socket in bytes.
const maxFrame = 4096

// wire sends and receives frames, each with at most one descriptor.
type wire struct {
	conn *net.UnixConn
	mu   sync.Mutex // serialises senders
}

func newWire(f *os.File) (*wire, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot adopt the control socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("cannot adopt the control socket: it is a %T", c)
	}
	return &wire{conn: u}, nil
}

// send sends a frame and, if end is not nil, its descriptor; it closes end.
func (w *wire) send(f *busv1.Frame, end *os.File) error {
	b, err := proto.Marshal(f)
	if err != nil {
		return err
	}
	var rights []byte
	if end != nil {
		defer end.Close()
		rights = unix.UnixRights(int(end.Fd()))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, _, err = w.conn.WriteMsgUnix(b, rights, nil)
	return err
}

func (w *wire) receive() (*busv1.Frame, *os.File, error) {
	b, oob := make([]byte, maxFrame), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(b, oob)
	if err != nil {
		return nil, nil, err
	}
	end, err := descriptor(oob[:oobn])
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	f := new(busv1.Frame)
	if err := proto.Unmarshal(b[:n], f); err != nil {
		if end != nil {
			end.Close()
		}
		return nil, nil, fmt.Errorf("cannot read a frame of the control socket: %w", err)
	}
	return f, end, nil
}

// descriptor returns the descriptor of a control message, nil if it has none.
func descriptor(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) == 0 {
		return nil, err
	}
	unix.SetNonblock(fds[0], true)
	return os.NewFile(uintptr(fds[0]), "bus"), nil
}

// ControlPair makes a control socket: the broker's end, and the end that a
// child inherits.
func ControlPair() (ours, child *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a control socket: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control"), nil
}

// ServeChild answers a child over its control socket until the child closes
// it, and takes over ours. If service is not empty, the child provides it.
func (b *Broker) ServeChild(ctx context.Context, ours *os.File, child Peer, service string) error {
	w, err := newWire(ours)
	if err != nil {
		return err
	}
	defer w.conn.Close()
	stop := context.AfterFunc(ctx, func() { w.conn.Close() })
	defer stop()
	if service != "" {
		p := &remote{w}
		b.provide(service, p)
		defer b.withdraw(service, p)
	}
	for {
		f, end, err := w.receive()
		if err != nil {
			return ended(err)
		}
		if end != nil {
			end.Close()
		}
		if err := b.answer(ctx, w, f.GetDial(), child); err != nil {
			return ended(err)
		}
	}
}

// ended turns the ordinary end of a control socket into nil.
func ended(err error) error {
	for _, ordinary := range []error{io.EOF, net.ErrClosed, unix.ECONNRESET, unix.EPIPE} {
		if errors.Is(err, ordinary) {
			return nil
		}
	}
	return err
}

func (b *Broker) answer(ctx context.Context, w *wire, d *busv1.Dial, child Peer) error {
	if d == nil {
		return nil
	}
	end, err := b.connect(ctx, child, d.Service)
	s := status.Convert(err)
	return w.send(&busv1.Frame{Body: &busv1.Frame_Answer{Answer: &busv1.Answer{
		Id: d.Id, Code: uint32(s.Code()), Message: s.Message(),
	}}}, end)
}

// remote is a service in a child.
type remote struct{ w *wire }

func (r *remote) accept(_ context.Context, end *os.File, from Peer) error {
	err := r.w.send(&busv1.Frame{Body: &busv1.Frame_Accept{Accept: &busv1.Accept{
		Peer: from.Applet, Pid: from.PID, Uid: from.UID,
	}}}, end)
	if err != nil {
		return status.Errorf(codes.Unavailable, "the provider is gone: %v", err)
	}
	return nil
}

func (r *remote) stop() { r.w.conn.Close() }

// Control is a child's end of the control socket it inherited from PID 1.
type Control struct {
	w   *wire
	lis *listener

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
	closed  bool
}

type answer struct {
	end *os.File
	err error
}

// Inherit takes over the control socket with the given descriptor number.
func Inherit(fd int) (*Control, error) {
	unix.CloseOnExec(fd)
	w, err := newWire(os.NewFile(uintptr(fd), "control"))
	if err != nil {
		return nil, err
	}
	c := &Control{w: w, lis: newListener(), waiting: map[uint64]chan answer{}}
	Go("control socket", c.receive)
	return c, nil
}

// Listener gives the connections to the service which the child provides. It
// fails once PID 1 closes the control socket.
func (c *Control) Listener() net.Listener { return c.lis }

// Close closes the control socket.
func (c *Control) Close() error { return c.w.conn.Close() }

func (c *Control) receive() {
	defer c.hangUp()
	for {
		f, end, err := c.w.receive()
		if err != nil {
			return
		}
		switch {
		case f.GetAnswer() != nil:
			c.settle(f.GetAnswer(), end)
		case f.GetAccept() != nil && end != nil:
			a := f.GetAccept()
			if nc, err := adopt(end, Peer{Applet: a.Peer, PID: a.Pid, UID: a.Uid}); err == nil {
				Go("accept", func() { c.lis.hand(nc) })
			}
		case end != nil:
			end.Close()
		}
	}
}

func (c *Control) settle(a *busv1.Answer, end *os.File) {
	var err error
	if codes.Code(a.Code) != codes.OK {
		err = status.Error(codes.Code(a.Code), a.Message)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	ch, ok := c.waiting[a.Id]
	delete(c.waiting, a.Id)
	if !ok {
		if end != nil {
			end.Close()
		}
		return
	}
	ch <- answer{end, err} // never blocks: one answer, room for one
}

// hangUp fails everybody who waits.
func (c *Control) hangUp() {
	c.lis.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for id, ch := range c.waiting {
		delete(c.waiting, id)
		ch <- answer{err: status.Error(codes.Unavailable, closedText)}
	}
}

// Dial implements Dialer.
func (c *Control) Dial(ctx context.Context, service string) (*grpc.ClientConn, error) {
	return client(ctx, service, func(ctx context.Context) (net.Conn, error) {
		end, err := c.ask(ctx, service)
		if err != nil {
			return nil, err
		}
		return adopt(end, Peer{Applet: service})
	})
}

func (c *Control) ask(ctx context.Context, service string) (*os.File, error) {
	id, ch, err := c.expect()
	if err != nil {
		return nil, err
	}
	err = c.w.send(&busv1.Frame{Body: &busv1.Frame_Dial{Dial: &busv1.Dial{Id: id, Service: service}}}, nil)
	if err != nil {
		c.forget(id, ch)
		return nil, status.Errorf(codes.Unavailable, "cannot ask for the service %q: %v", service, err)
	}
	select {
	case a := <-ch:
		if a.err == nil && a.end == nil {
			return nil, status.Errorf(codes.Internal, "the answer for the service %q has no connection", service)
		}
		return a.end, a.err
	case <-ctx.Done():
		c.forget(id, ch)
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (c *Control) expect() (uint64, chan answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, nil, status.Error(codes.Unavailable, closedText)
	}
	c.last++
	ch := make(chan answer, 1)
	c.waiting[c.last] = ch
	return c.last, ch, nil
}

// forget gives up waiting; an answer that has come meanwhile is closed.
func (c *Control) forget(id uint64, ch chan answer) {
	c.mu.Lock()
	delete(c.waiting, id)
	c.mu.Unlock()
	select {
	case a := <-ch:
		if a.end != nil {
			a.end.Close()
		}
	default:
	}
}

// controlFlag is how a child learns the number of its control descriptor. It
// comes before its other arguments and is taken off before it sees them.
const controlFlag = "--bus-fd="

// ControlFlag returns the first argument for a child that inherits its control
// socket with the given descriptor number.
func ControlFlag(fd int) string { return controlFlag + strconv.Itoa(fd) }

// FromArguments takes over the control socket if args begin with the flag, and
// returns the other arguments; without the flag it returns a nil Control.
func FromArguments(args []string) (*Control, []string, error) {
	if len(args) == 0 || !strings.HasPrefix(args[0], controlFlag) {
		return nil, args, nil
	}
	fd, err := strconv.Atoi(strings.TrimPrefix(args[0], controlFlag))
	if err != nil || fd <= 2 {
		return nil, nil, fmt.Errorf("cannot read the argument %s: not a descriptor number", args[0])
	}
	c, err := Inherit(fd)
	return c, args[1:], err
}

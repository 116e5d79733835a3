package rpc

import (
	"context"
	"net"
	"os"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// provider takes its end of a new connection.
type provider interface {
	accept(ctx context.Context, end *os.File, from Peer) error
	stop()
}

// Broker makes the connections. There is one in PID 1, and one in a process
// that serves itself outside the OS.
type Broker struct {
	// Granted tells whether an applet may reach a service.
	Granted func(applet, service string) bool
	// Denied, if not nil, is told of each refusal.
	Denied func(from Peer, service string)

	mu        sync.Mutex
	providers map[string]provider
}

// Serve makes a service of the broker's own process. register is called once,
// at the first connection.
func (b *Broker) Serve(service string, register func(grpc.ServiceRegistrar) error) {
	b.provide(service, &local{name: service, register: register})
}

func (b *Broker) provide(service string, p provider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.providers == nil {
		b.providers = map[string]provider{}
	}
	b.providers[service] = p
}

// withdraw removes a provider unless a successor has taken its place.
func (b *Broker) withdraw(service string, p provider) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.providers[service] == p {
		delete(b.providers, service)
	}
}

// connect makes a connection to a service and returns the consumer's end.
func (b *Broker) connect(ctx context.Context, from Peer, service string) (*os.File, error) {
	if b.Granted != nil && !b.Granted(from.Applet, service) {
		if b.Denied != nil {
			b.Denied(from, service)
		}
		return nil, status.Errorf(codes.PermissionDenied, "%s may not call the service %q", from.Applet, service)
	}
	b.mu.Lock()
	p := b.providers[service]
	b.mu.Unlock()
	if p == nil {
		return nil, status.Errorf(codes.Unavailable, "the service %q is not running", service)
	}
	near, far, err := pair()
	if err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	if err := p.accept(ctx, far, from); err != nil {
		near.Close()
		return nil, err
	}
	return near, nil
}

// As returns the bus as a program sees it that runs in the broker's process.
func (b *Broker) As(from Peer) Dialer { return dialerAs{b, from} }

type dialerAs struct {
	broker *Broker
	from   Peer
}

func (d dialerAs) Dial(ctx context.Context, service string) (*grpc.ClientConn, error) {
	return client(ctx, service, func(ctx context.Context) (net.Conn, error) {
		end, err := d.broker.connect(ctx, d.from, service)
		if err != nil {
			return nil, err
		}
		return adopt(end, Peer{Applet: service})
	})
}

// Stop ends all services of the broker's own process.
func (b *Broker) Stop() {
	b.mu.Lock()
	all := b.providers
	b.providers = nil
	b.mu.Unlock()
	for _, p := range all {
		p.stop()
	}
}

// local is a service in the broker's process.
type local struct {
	name     string
	register func(grpc.ServiceRegistrar) error

	once   sync.Once
	err    error
	server *grpc.Server
	lis    *listener
}

func (l *local) start() error {
	l.once.Do(func() {
		l.server, l.lis = NewServer(), newListener()
		if l.err = l.register(l.server); l.err != nil {
			l.err = status.Errorf(codes.Unavailable, "the service %q cannot start: %v", l.name, l.err)
			return
		}
		Go("service "+l.name, func() { l.server.Serve(l.lis) })
	})
	return l.err
}

func (l *local) accept(_ context.Context, end *os.File, from Peer) error {
	if err := l.start(); err != nil {
		end.Close()
		return err
	}
	c, err := adopt(end, from)
	if err != nil {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return l.lis.hand(c)
}

func (l *local) stop() {
	l.once.Do(func() { l.err = status.Error(codes.Unavailable, closedText) })
	if l.server != nil {
		l.server.Stop()
	}
}

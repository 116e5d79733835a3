// Package rpc is the bus: gRPC connections that are given, never looked up.
// The contracts lie in the folders below it.
package rpc

import (
	"context"

	"google.golang.org/grpc"
)

// Dialer gives connections to services by name.
type Dialer interface {
	// Dial returns a connection to a service such as "mount". The error says
	// whether the service is unknown or not granted to the caller. The caller
	// closes the connection.
	Dial(ctx context.Context, service string) (*grpc.ClientConn, error)
}

// Control is a child's end of the control socket it inherited from PID 1.
type Control struct{}

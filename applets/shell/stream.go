package shell

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"mvdan.cc/sh/v3/interp"

	"ichor/rpc"
)

// guardedWriter stops writing once the command is interrupted.
type guardedWriter struct {
	ctx context.Context
	w   io.Writer
}

func (g guardedWriter) Write(p []byte) (int, error) {
	if err := g.ctx.Err(); err != nil {
		return 0, err
	}
	return g.w.Write(p)
}

// unguarded returns the writer that a utility was given in the first place.
func unguarded(w io.Writer) io.Writer {
	if g, ok := w.(guardedWriter); ok {
		return g.w
	}
	return w
}

// input is a reader that an interruption ends, also while it blocks on a
// terminal or a pipe.
type input struct {
	ctx   context.Context
	r     io.Reader
	stop  func() bool
	ended chan struct{}
	file  *os.File
	own   bool
	owner *call
}

// interruptible makes an input of a stream which others go on to use.
func interruptible(ctx context.Context, r io.Reader) *input {
	in := &input{ctx: ctx, r: r, ended: make(chan struct{})}
	in.file, _ = r.(*os.File)
	if in.file != nil {
		in.stop = context.AfterFunc(ctx, func() {
			in.file.SetReadDeadline(time.Unix(1, 0))
			close(in.ended)
		})
	}
	return in
}

func (in *input) Read(p []byte) (int, error) {
	if err := in.ctx.Err(); err != nil {
		return 0, err
	}
	if in.owner != nil && in.owner.pending != nil {
		// What is finished is shown before we wait for more.
		in.owner.pending.Flush()
	}
	n, err := in.r.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && in.ctx.Err() != nil {
		err = in.ctx.Err()
	}
	return n, err
}

// release gives the stream back, without the deadline that an interruption set.
func (in *input) release() {
	if in.stop != nil && !in.stop() {
		<-in.ended
		in.file.SetReadDeadline(time.Time{})
	}
}

// Close releases the stream and closes it if it was opened by us.
func (in *input) Close() error {
	in.release()
	if in.own {
		return in.file.Close()
	}
	return nil
}

// open opens a file for reading.
func (c *call) open(ctx context.Context, name string) (*input, error) {
	f, err := openFile(ctx, c.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, syscall.EISDIR
	}
	in := interruptible(ctx, f)
	in.own, in.owner = true, c
	return in, nil
}

// openFile is os.OpenFile, but an interruption ends its wait for the other end
// of a FIFO or for the carrier of a modem line.
func openFile(ctx context.Context, path string, flag int, perm os.FileMode) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) == 0 {
		return os.OpenFile(path, flag, perm)
	}
	type result struct {
		f   *os.File
		err error
	}
	opened := make(chan result, 1)
	rpc.Go("open", func() {
		f, err := os.OpenFile(path, flag, perm)
		opened <- result{f, err}
	})
	select {
	case r := <-opened:
		return r.f, r.err
	case <-ctx.Done():
		rpc.Go("open", func() {
			if r := <-opened; r.f != nil {
				r.f.Close()
			}
		})
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EINTR}
	}
}

// openHandler opens the files of redirections.
func openHandler(ctx context.Context, path string, flag int, perm os.FileMode) (io.ReadWriteCloser, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(interp.HandlerCtx(ctx).Dir, path)
	}
	f, err := openFile(ctx, path, flag, perm)
	if err != nil {
		return nil, err
	}
	return f, nil
}

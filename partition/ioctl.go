package partition

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl calls ioctl(2) with a pointer argument.
func ioctl(f *os.File, request uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// ioctlUint64 calls ioctl(2) with a pointer to a 64-bit result.
func ioctlUint64(f *os.File, request uint) (uint64, error) {
	var v uint64
	err := ioctl(f, request, unsafe.Pointer(&v))
	return v, err
}

// Package boot boots whole machines and looks at what comes of it. It is tests
// and nothing else: go test runs a sample that fits into some minutes, make soak
// all of it, with a report.
//
// The tests need the products of make image, root, QEMU, OVMF, sfdisk and sgdisk.
// What can be found out without a kernel of our own belongs beside the code.
package boot

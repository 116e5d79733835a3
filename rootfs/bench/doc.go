// Package bench measures a boot and what it costs, against a floor and against
// what people know: an init that only mounts /proc and prints, and a small
// Debian with systemd. It is tests and nothing else; make bench runs it and
// prints the report, a plain go test only checks its arithmetic.
//
// Whether a boot does what it should is what package boot is for.
package bench

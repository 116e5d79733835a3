// Package partition reads and writes what lies below the file systems of a
// disk: block devices, GUID partition tables (GPT, UEFI 2.10 section 5), the
// signatures of file systems, and fresh file systems where the operating
// system needs them. The partition table of the operating system is the
// literal table in layout.go; the same code builds disk images from it and
// adjusts the disks of a running machine to it.
//
// The order of work is always the same: Read says what a disk holds, MakePlan
// works out in memory what to do, and Apply carries it out in an order in
// which a power cut at any moment leaves the old or the new table, never none.
// Partitions the layout does not know are left alone; nothing is ever shrunk,
// moved or deleted.
//
// The package is not a general partition editor: it makes no MBR partitions
// and changes no partition that is not in the layout.
package partition

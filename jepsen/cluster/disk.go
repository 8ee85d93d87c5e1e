package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// A disk of a node: a file system of its own on a file, so that it can lose what was not synced.
type disk struct {
	image string
	mount string
	kind  string // of the file system
	bytes int64
	under *disk // holds the image, if the disk has a cache (Options.Disks)
}

// withCache ends the kind of a disk whose own cache is lost with the power: its image lies in another file system, which is what is
// shut down, so that writes stay that the disk was told to keep (by a flush, which becomes an fsync of the image), and others only by
// chance. On a plain image whatever has left the file system stays, flushed or not.
const withCache = "-cache"

// ShareMounts lets the nodes' namespaces see what is mounted and unmounted in ours, which `ip netns exec` made
// private. Once, before the first disk.
func ShareMounts() error { return command("mount", "--make-rshared", "/") }

func makeDisk(directory string, node int, bytes int64, kind string) (*disk, error) {
	place := filepath.Join(directory, fmt.Sprintf("n%d", node))
	d := &disk{bytes: bytes, image: place + ".img", mount: place, kind: strings.TrimSuffix(kind, withCache)}
	if d.kind != kind {
		d.under = &disk{bytes: bytes + bytes/4, image: place + ".img", mount: place + ".under", kind: "ext4"}
		d.image = filepath.Join(d.under.mount, "image")
	}
	return d, d.make()
}

// make makes the disk and mounts it, empty. Not mounted before.
func (d *disk) make() error {
	if d.under != nil {
		if err := d.under.make(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		return err
	}
	if err := d.format(); err != nil {
		return err
	}
	return d.mounted()
}

// format makes an empty file system on a new file: a loop device that somebody still holds would show what it remembers of the old
// one.
func (d *disk) format() error {
	if err := os.Remove(d.image); err != nil && !os.IsNotExist(err) {
		return err
	}
	file, err := os.Create(d.image)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Truncate(d.bytes); err != nil {
		return err
	}
	force := map[string]string{"xfs": "-f", "ext4": "-F"}[d.kind]
	return command("mkfs."+d.kind, "-q", force, d.image)
}

func (d *disk) mounted() error { return command("mount", "-o", "loop", d.image, d.mount) }

func (d *disk) attach() error {
	if d.under != nil {
		if err := d.under.attach(); err != nil {
			return err
		}
	}
	return d.mounted()
}

func (d *disk) detach() error {
	var err error
	for attempt := 0; attempt < 50; attempt++ { // a process that was killed lets go a moment later
		if err = command("umount", d.mount); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err == nil && d.under != nil {
		err = d.under.detach()
	}
	return err
}

// What `xfs_io -x -c shutdown` calls, of ext4 and of XFS: the log is not flushed.
const (
	iocShutdown = 0x8004587d
	noLogFlush  = 2
)

// cut ends all writing to the disks at once: what was not synced is lost. Everything slow comes before the first of them, so that
// there are microseconds between the first and the last.
func cut(disks []*disk) error {
	var roots []*os.File
	defer func() {
		for _, root := range roots {
			_ = root.Close()
		}
	}()
	var places []string
	for _, each := range disks {
		if each.under != nil {
			places = append(places, each.under.mount)
		}
	}
	for _, each := range disks { // last: their file systems have nothing to write to
		places = append(places, each.mount)
	}
	for _, place := range places {
		root, err := os.Open(place)
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	flags := uint32(noLogFlush)
	for _, root := range roots {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, root.Fd(), iocShutdown, uintptr(unsafe.Pointer(&flags)))
		if errno != 0 {
			return fmt.Errorf("shutting down %s: %w", root.Name(), errno)
		}
	}
	return nil
}

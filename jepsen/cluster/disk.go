package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A disk of a node: a file system of its own on a file, so that it can lose what was not synced.
type disk struct {
	image string
	mount string
	kind  string // of the file system
	bytes int64
}

// ShareMounts lets the nodes' namespaces see what is mounted and unmounted in ours, which `ip netns exec` made
// private. Once, before the first disk.
func ShareMounts() error { return command("mount", "--make-rshared", "/") }

func makeDisk(directory string, node int, bytes int64, kind string) (*disk, error) {
	d := &disk{bytes: bytes, image: filepath.Join(directory, fmt.Sprintf("n%d.img", node)),
		mount: filepath.Join(directory, fmt.Sprintf("n%d", node)), kind: kind}
	if err := os.MkdirAll(d.mount, 0o755); err != nil {
		return nil, err
	}
	if err := d.format(); err != nil {
		return nil, err
	}
	return d, d.attach()
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

func (d *disk) attach() error { return command("mount", "-o", "loop", d.image, d.mount) }

func (d *disk) detach() error {
	var err error
	for attempt := 0; attempt < 50; attempt++ { // a process that was killed lets go a moment later
		if err = command("umount", d.mount); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// cut ends all writing to the disk at once: what was not synced is lost.
func (d *disk) cut() error { return command("xfs_io", "-x", "-c", "shutdown", d.mount) }

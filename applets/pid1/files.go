package pid1

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"ichor/mount"
	mountv1 "ichor/rpc/mount/v1"
)

// identity is where the machine ID is kept.
const identity = "/system/state/machine-id"

// files writes the files that are bound over names in /etc, and binds them.
func (m *machine) files(ctx context.Context) error {
	id, err := machineID(identity)
	if err != nil {
		return err
	}
	hostname := "ichor-" + id[:6]
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("cannot set the host name to %s: %w", hostname, err)
	}
	cc, err := m.bus.Dial(ctx, "mount")
	if err != nil {
		return err
	}
	defer cc.Close()
	client := mountv1.NewMountServiceClient(cc)
	for _, f := range []struct{ name, content string }{
		{"machine-id", id + "\n"},
		{"hostname", hostname + "\n"},
		{"hosts", "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 " + hostname + "\n"},
		{"resolv.conf", "# no resolvers are configured\n"},
	} {
		if _, err := client.SetFile(ctx, &mountv1.SetFileRequest{Name: f.name, Content: []byte(f.content)}); err != nil {
			return plain(err)
		}
	}
	return m.mounts(mount.PhaseFiles, nil)(ctx)
}

// machineID reads the machine ID (machine-id(5): 32 lower-case hex digits) and
// makes it if there is none. What is there but is no machine ID is an error:
// who else should know whether it may be replaced?
func machineID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return newMachineID(path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the machine ID: %w", err)
	}
	id := strings.TrimSpace(string(b))
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 16 || strings.ToLower(id) != id {
		return "", fmt.Errorf("%s holds %.40q, which is no machine ID; remove it for a new one", path, b)
	}
	return id, nil
}

// newMachineID makes an ID in the form of a random UUID (RFC 9562 section 5.4)
// and keeps it, whole or not at all.
func newMachineID(path string) (string, error) {
	raw := make([]byte, 16)
	rand.Read(raw)
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	id := hex.EncodeToString(raw)
	if err := writeDurably(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("cannot keep the machine ID: %w", err)
	}
	return id, nil
}

// writeDurably replaces a file so that after a power cut it has the old or the
// new content.
func writeDurably(path string, content []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o444)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

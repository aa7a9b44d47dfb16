package daemon

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bootFile lies where a reboot empties. The kernel has a boot id as well, but
// hosts that are containers of one machine have the same.
const bootFile = runDir + "/boot"

// bootID returns what changes when the host boots.
func bootID(path string) (string, error) {
	text, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(text)); err == nil && len(id) == 32 {
		return id, nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails
	made := hex.EncodeToString(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("make directory: %w", err)
	}
	if err := os.WriteFile(path, []byte(made+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("note this boot's id: %w", err)
	}
	return made, nil
}

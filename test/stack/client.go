package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dockstack/dockstack/test/lab"
)

// Client is the container that has the `openstack` command.
const Client = "client"

// image names an image of OpenStack as the compose files do.
func image(name string) string { return registry() + "/" + name + ":zed" }

// StartClient starts Client on a host. It has an address as all others have, and stays.
func (s *Stack) StartClient(ctx context.Context, h *lab.Host) error {
	_, err := h.Docker(ctx, "run", "-d", "--name", Client, "--network", Network, "--restart", "always", "--init",
		"--env-file", filepath.Join(s.Root, "compose", "common.env"), image("openstackclient"), "sleep", "infinity")
	return err
}

// InClient runs a shell script in Client, and returns what it wrote to standard output.
func (s *Stack) InClient(ctx context.Context, script string, args ...string) (string, error) {
	h, err := s.Where(ctx, Client)
	if err != nil {
		return "", err
	}
	out, err := h.Docker(ctx, append([]string{"exec", Client, "bash", "-euc", script, "client"}, args...)...)
	return strings.TrimSpace(out), err
}

// OpenStack runs an `openstack` command and reads its answer, which may be nil, from JSON.
func (s *Stack) OpenStack(ctx context.Context, answer any, args ...string) error {
	if answer != nil {
		args = append(args, "-f", "json")
	}
	out, err := s.InClient(ctx, `exec openstack "$@"`, args...)
	if err != nil || answer == nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), answer); err != nil {
		return fmt.Errorf("openstack %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// Where finds the host on which a container runs.
func (s *Stack) Where(ctx context.Context, container string) (*lab.Host, error) {
	var errs []error
	for _, h := range s.Hosts {
		running, err := h.Docker(ctx, "inspect", "-f", "{{.State.Running}}", container)
		if err == nil && strings.TrimSpace(running) == "true" {
			return h, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(append(errs, fmt.Errorf("container %s runs on no host", container))...)
}

// Token gets a token, as a user would.
func (s *Stack) Token(ctx context.Context) error {
	var token struct{ ID, Expires string }
	if err := s.OpenStack(ctx, &token, "token", "issue"); err != nil {
		return err
	}
	if len(token.ID) < 32 || token.Expires == "" {
		return fmt.Errorf("openstack token issue: no token: %+v", token)
	}
	return nil
}

// UploadImage makes an image of random bytes, and returns their SHA-256.
func (s *Stack) UploadImage(ctx context.Context, name string, bytes int) (sum string, err error) {
	return s.InClient(ctx, `head -c "$2" /dev/urandom >"/tmp/$1"
		openstack image create --container-format bare --disk-format raw --file "/tmp/$1" "$1" >/dev/null
		sha256sum <"/tmp/$1" | cut -d" " -f1
		rm "/tmp/$1"`, name, fmt.Sprint(bytes))
}

// DownloadImage fetches an image and returns the SHA-256 of its bytes.
func (s *Stack) DownloadImage(ctx context.Context, name string) (sum string, err error) {
	return s.InClient(ctx, `openstack image save --file "/tmp/$1.back" "$1"
		sha256sum <"/tmp/$1.back" | cut -d" " -f1
		rm "/tmp/$1.back"`, name)
}

// SameImage fails unless an image comes back with the bytes that it had.
func (s *Stack) SameImage(ctx context.Context, name, sum string) error {
	got, err := s.DownloadImage(ctx, name)
	if err != nil {
		return err
	}
	if got != sum {
		return fmt.Errorf("image %s: SHA-256 %q, uploaded was %q", name, got, sum)
	}
	return nil
}

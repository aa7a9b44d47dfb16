package vm

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// module is what the guest needs. An optional one may be missing: kernels move
// code between modules and the image.
type module struct {
	name     string
	optional bool
}

var modules = []module{
	{"crc32c_generic", true},
	{"crc32c_cryptoapi", true},
	{"openvswitch", false},
	{"veth", false},
	{"nf_conntrack_netlink", true},
	{"nf_tables", true},
	{"nft_chain_nat", true},
	{"nft_redir", true},
	{"nft_nat", true},
	{"vxlan", false}, // with udp_tunnel and ip6_udp_tunnel
	{"bridge", true},
	{"macvlan", true},
	{"tun", true},
	{"virtio_pci", true},
	{"virtio_blk", false},
	{"ext4", false},
}

func openKernel(version, root string, modules []module) (*Kernel, error) {
	k := &Kernel{Version: version, Image: filepath.Join(root, "vmlinuz")}
	if _, err := os.Stat(k.Image); err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(root, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		file := moduleFile(root, m.name)
		if file == "" {
			if m.optional || bytes.Contains(builtin, []byte("/"+m.name+".ko")) || bytes.Contains(builtin, []byte("/"+strings.ReplaceAll(m.name, "_", "-")+".ko")) {
				continue
			}
			return nil, fmt.Errorf("kernel %s has no module %s", version, m.name)
		}
		if err := k.load(root, file); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// load puts a module after what it depends on.
func (k *Kernel) load(root, file string) error {
	if slices.Contains(k.Modules, file) {
		return nil
	}
	depends, err := dependsOn(file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	for _, d := range depends {
		dep := moduleFile(root, d)
		if dep == "" {
			return fmt.Errorf("module %s needs %s, which was not unpacked", filepath.Base(file), d)
		}
		if err := k.load(root, dep); err != nil {
			return err
		}
	}
	k.Modules = append(k.Modules, file)
	return nil
}

// moduleFile finds a module: - and _ are the same in names.
func moduleFile(root, name string) string {
	for _, n := range []string{name, strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(name, "-", "_")} {
		if file := filepath.Join(root, n+".ko"); exists(file) {
			return file
		}
	}
	return ""
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// dependsOn reads the modules that a module needs from the module itself: the
// package has no list of them, depmod would make one.
func dependsOn(file string) ([]string, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("no .modinfo")
	}
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if list, ok := bytes.CutPrefix(entry, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}

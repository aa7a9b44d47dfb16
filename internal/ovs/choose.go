package ovs

import (
	"context"
	"fmt"
	"os"

	"github.com/dockstack/dockstack/internal/fabric"
)

// choice is which switch is used, and how.
type choice struct {
	origin   string
	datapath string
}

// choose decides as measured in practice: the host's switch when it runs,
// because two ovs-vswitchd on one kernel datapath destroy each other's ports;
// else our own, in the kernel where the kernel can and nobody else does.
func (s *Switch) choose(ctx context.Context) (choice, error) {
	origin := s.cfg.Origin
	if origin == OriginAuto {
		origin = OriginOwn
		if answers(ctx, s.cfg.HostSocket) {
			origin = OriginHost
		}
	}
	datapath := s.cfg.Datapath
	if datapath != DatapathAuto {
		return choice{origin, datapath}, nil
	}
	kernel, err := s.probe.KernelDatapath()
	if err != nil {
		return choice{}, fmt.Errorf("ask the kernel for Open vSwitch's datapath: %w", err)
	}
	if kernel && origin == OriginOwn {
		taken, err := s.probe.KernelDatapathInUse()
		if err != nil {
			return choice{}, fmt.Errorf("look for another switch on the kernel's datapath: %w", err)
		}
		if taken && !s.leftByUs() {
			s.log.WarnContext(ctx, "another switch holds the kernel's datapath and its socket is not to be seen: forwarding in userspace",
				"path", s.cfg.HostSocket)
			kernel = false
		}
	}
	if kernel {
		return choice{origin, DatapathKernel}, nil
	}
	return choice{origin, DatapathUserspace}, nil
}

// leftByUs is whether our own switch left the kernel's datapath there when it was
// killed: its database lies beside its sockets and is gone after a reboot, as the
// datapath is.
func (s *Switch) leftByUs() bool {
	_, err := os.Stat(s.cfg.database())
	return err == nil
}

// offloads that the peers of ports may have, by the choice and by whether the
// switch finishes segments and checksums itself.
func offloads(datapath string, tso bool) fabric.Offloads {
	switch {
	case datapath == DatapathKernel:
		return fabric.OffloadAll
	case tso:
		return fabric.OffloadTCP
	default:
		return fabric.OffloadNone
	}
}

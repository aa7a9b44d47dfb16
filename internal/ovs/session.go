package ovs

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"
)

// session is one connection to a running switch with our bridge.
type session struct {
	cfg      Config
	tools    tools
	socket   string
	own      *own
	db       *database
	flowConn *flowConn
	version  string
	datapath string
	tso      bool
	log      *slog.Logger

	buffers sync.Mutex // guards below
	// grown are the sockets whose receive buffer was set.
	grown map[string]bool
	// slow is whether that has failed and was told.
	slow bool
}

// openLimit is how long a session may take to open.
const openLimit = 10 * time.Second

// open connects: database, bridge, flows.
func open(ctx context.Context, cfg Config, t target, log *slog.Logger) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	rundir := filepath.Dir(t.socket)
	s := &session{
		cfg: cfg, socket: t.socket, own: t.own, datapath: t.datapath, log: log, grown: map[string]bool{},
		tools: tools{root: cfg.Root, rundir: rundir},
	}
	var err error
	if s.db, err = dialDatabase(ctx, t.socket); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx, rundir); err != nil {
		s.db.close()
		return nil, err
	}
	return s, nil
}

func (s *session) prepare(ctx context.Context, rundir string) error {
	root, err := s.db.root(ctx)
	if err != nil {
		return err
	}
	s.version, s.tso = root.version, root.config["userspace-tso-enable"] == "true"
	if err := s.ensureBridge(ctx); err != nil {
		return err
	}
	s.flowConn, err = dialFlows(ctx, filepath.Join(rundir, s.cfg.Bridge+".mgmt"))
	if err != nil {
		return err
	}
	s.growBuffers(ctx)
	return nil
}

func (s *session) close() {
	s.flowConn.close()
	s.db.close()
}

// vsctl runs one transaction and waits for the switch to take it.
func (s *session) vsctl(ctx context.Context, args ...string) error {
	_, err := s.tools.run(ctx, nil, "ovs-vsctl", append([]string{commandSeconds, "--db=unix:" + s.socket}, args...)...)
	return err
}

// datapathType is our bridge's, in the database's words.
func (s *session) datapathType() string {
	if s.datapath == DatapathUserspace {
		return "netdev"
	}
	return "system"
}

// ensureBridge makes our bridge, or completes it. Somebody else's of the same
// name is left alone.
func (s *session) ensureBridge(ctx context.Context) error {
	br, there, err := s.db.bridge(ctx, s.cfg.Bridge)
	if err != nil {
		return err
	}
	if there && br.ids[ownerKey] != ownerName {
		return fmt.Errorf("bridge %s: %w", s.cfg.Bridge, ErrNotOurs)
	}
	if there && br.failMode == "secure" && br.datapath == s.datapathType() {
		return nil
	}
	err = s.vsctl(ctx, "--", "--may-exist", "add-br", s.cfg.Bridge, "--", "set", "Bridge", s.cfg.Bridge,
		"datapath_type="+s.datapathType(),
		// Without flows nothing is forwarded: never flood.
		"fail_mode=secure",
		"protocols=OpenFlow13,OpenFlow15",
		"other_config:disable-in-band=true",
		"external_ids:"+ownerKey+"="+ownerName)
	if err != nil {
		return fmt.Errorf("make bridge %s: %w", s.cfg.Bridge, err)
	}
	return nil
}

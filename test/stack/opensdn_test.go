package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dockstack/dockstack/test/lab"
)

// release is the one of OpenSDN that contrail-images/structure.yaml names, and whose images these stand for.
const release = "R25.1"

// opensdn is what is known of one of OpenSDN's images, from the Dockerfile that it is built of, and who stands for it: see
// test/images/opensdn.
type opensdn struct {
	name     string // behind opensdn-
	ours     string // the image over it; none for one that the compose files use as it is
	pod      string // NODE_TYPE
	service  string // SERVICE_NAME
	start    []string
	command  []string
	ports    string
	self     string
	peers    string
	once     bool
	contrail string // our label net.juniper.contrail
}

// conf is how most of the programs are told of their configuration.
func conf(program, flag string, names ...string) []string {
	args := []string{program}
	for _, name := range names {
		args = append(args, flag, "/etc/contrail/"+name+".conf")
	}
	return args
}

const auth = "contrail-keystone-auth"

// upstream are OpenSDN's images that ours stand on.
var upstream = []opensdn{
	{
		name: "controller-config-api", ours: "config-api", pod: "config", service: "api", contrail: "config",
		ports: "8082 8084 8095", self: "CONFIG_NODES", peers: "CONFIGDB ZOOKEEPER RABBITMQ KEYSTONE COLLECTOR",
	},
	{
		name: "controller-config-schema", ours: "config-schema", pod: "config", service: "schema", contrail: "config",
		command: conf("/usr/local/bin/contrail-schema", "--conf_file", "contrail-schema", auth),
		ports:   "8087", self: "CONFIG_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER RABBITMQ KEYSTONE COLLECTOR",
	},
	{
		name: "controller-config-svcmonitor", ours: "config-svc-monitor", pod: "config", service: "svc-monitor", contrail: "config",
		command: conf("/usr/local/bin/contrail-svc-monitor", "--conf_file", "contrail-svc-monitor", auth),
		ports:   "8088", self: "CONFIG_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER RABBITMQ KEYSTONE COLLECTOR ANALYTICS",
	},
	{
		name: "controller-config-devicemgr", ours: "config-device-manager", pod: "config", service: "device-manager", contrail: "config",
		command: conf("/usr/local/bin/contrail-device-manager", "--conf_file", "contrail-device-manager", auth),
		ports:   "8096", self: "CONFIG_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER RABBITMQ KEYSTONE COLLECTOR ANALYTICS",
	},
	{
		name: "analytics-api", ours: "analytics-api", pod: "analytics", service: "api", contrail: "analytics",
		command: conf("/usr/local/bin/contrail-analytics-api", "-c", "contrail-analytics-api", auth),
		ports:   "8081 8090", self: "ANALYTICS_NODES", peers: "CONFIG ZOOKEEPER KEYSTONE REDIS COLLECTOR",
	},
	{
		name: "analytics-collector", ours: "analytics-collector", pod: "analytics", service: "collector", contrail: "analytics",
		command: []string{"/usr/bin/contrail-collector"},
		ports:   "8086 8089", self: "ANALYTICS_NODES", peers: "CONFIG CONFIGDB ANALYTICSDB_CQL ZOOKEEPER KAFKA RABBITMQ LOCAL_REDIS",
	},
	{
		name: "analytics-query-engine", ours: "analytics-query", pod: "database", service: "query-engine", contrail: "analytics",
		command: conf("/usr/bin/contrail-query-engine", "--conf_file", "contrail-query-engine"),
		ports:   "8091", self: "ANALYTICSDB_NODES", peers: "ANALYTICSDB_CQL REDIS COLLECTOR",
	},
	{
		name: "analytics-alarm-gen", ours: "analytics-alarm", pod: "analytics-alarm", service: "alarm-gen", contrail: "analytics",
		command: conf("/usr/local/bin/contrail-alarm-gen", "-c", "contrail-alarm-gen"),
		ports:   "5995", self: "ANALYTICS_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER KAFKA RABBITMQ REDIS COLLECTOR",
	},
	{
		name: "analytics-snmp-collector", ours: "analytics-snmp", pod: "analytics-snmp", service: "snmp-collector", contrail: "analytics",
		command: append(conf("/usr/local/bin/tf-snmp-collector", "-c", "tf-snmp-collector"), "--device-config-file", "/etc/contrail/device.ini"),
		ports:   "5920", self: "ANALYTICS_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER RABBITMQ COLLECTOR",
	},
	{
		name: "analytics-snmp-topology", ours: "analytics-topology", pod: "analytics-snmp", service: "topology", contrail: "analytics",
		command: conf("/usr/local/bin/tf-topology", "-c", "tf-topology"),
		ports:   "5921", self: "ANALYTICS_NODES", peers: "CONFIG CONFIGDB ZOOKEEPER RABBITMQ ANALYTICS COLLECTOR",
	},
	{
		name: "controller-control-control", ours: "control-control", pod: "control", service: "control", contrail: "control",
		command: []string{"/usr/bin/contrail-control"},
		ports:   "179 5269 8083", self: "CONTROL_NODES", peers: "CONFIGDB RABBITMQ COLLECTOR",
	},
	{
		name: "controller-control-named", ours: "control-named", pod: "control", service: "named", contrail: "control",
		command: []string{"/usr/bin/contrail-named", "-f", "-u", "contrail", "-c", "/etc/contrail/dns/contrail-named.conf"},
		ports:   "53 127.0.0.1:8094", self: "CONTROL_NODES",
	},
	{
		name: "controller-control-dns", ours: "control-dns", pod: "control", service: "dns", contrail: "control",
		command: []string{"/usr/bin/contrail-dns"},
		ports:   "8092 8093", self: "CONTROL_NODES", peers: "CONFIGDB RABBITMQ COLLECTOR",
	},
	{
		name: "controller-webui-web", ours: "webui-server", pod: "webui", service: "web", contrail: "webui",
		command: []string{"/usr/bin/node", "webServerStart.js"},
		ports:   "8080 8143", self: "WEBUI_NODES", peers: "CONFIG CONFIGDB ANALYTICS KEYSTONE LOCAL_REDIS JOBS",
	},
	{
		name: "controller-webui-job", ours: "webui-job", pod: "webui", service: "job", contrail: "webui",
		command: []string{"/usr/bin/node", "jobServerStart.js"},
		ports:   "3000 3002", self: "WEBUI_NODES", peers: "CONFIG CONFIGDB ANALYTICS KEYSTONE LOCAL_REDIS",
	},
	{
		name: "nodemgr", ours: "nodemgr", service: "nodemgr", contrail: "nodemgr",
		command: []string{"/bin/sh", "-c", "/usr/local/bin/contrail-nodemgr --nodetype=${NODEMGR_TYPE}"},
		ports:   "config=8100 control=8101 vrouter=8102 analytics=8104", peers: "COLLECTOR",
	},
	{
		name: "provisioner", ours: "provisioner", service: "provisioner", contrail: "provisioner",
		command: []string{"/usr/bin/tail", "-f", "/dev/null"}, peers: "CONFIG KEYSTONE",
	},
	{
		name: "vrouter-agent", ours: "vrouter-agent", pod: "vrouter", service: "agent", contrail: "vrouter",
		command: []string{"/usr/bin/contrail-vrouter-agent"},
		ports:   "8085 9091", peers: "CONTROL DNS COLLECTOR",
	},
	{name: "vrouter-kernel-init", pod: "vrouter", service: "kernel-init", once: true},
	{
		name: "external-cassandra", ours: "cassandra", service: "cassandra", contrail: "database",
		start: []string{"/contrail-entrypoint.sh"}, command: []string{"cassandra", "-f"},
		ports: "self:9042 self:9160", self: "CASSANDRA_SEEDS",
	},
	{
		name: "external-kafka", ours: "kafka", service: "kafka", contrail: "database",
		start: []string{"/cacert_entrypoint.sh"}, command: []string{"/contrail-entrypoint.sh"},
		ports: "self:9092", self: "KAFKA_NODES", peers: "ZOOKEEPER",
	},
}

func (o opensdn) ref() string { return "opensdn/opensdn-" + o.name + ":" + release }

func (o opensdn) image() string { return registry() + "/" + o.ours + ":" + release }

// standins gives the host images that stand for OpenSDN's, under their names.
func standins(t *testing.T, s *Stack, h *lab.Host) {
	t.Helper()
	dir := t.TempDir()
	program := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "opensdn"), "./test/images/opensdn")
	program.Dir, program.Env = s.Root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("build the stand-in: %v: %s", err, out)
	}
	write(t, filepath.Join(dir, "cacert_entrypoint.sh"), "#!/bin/sh\nexec \"$@\"\n", 0o755)
	// A commit for each is a quarter of the work of a build.
	must(t, docker1(t.Context(), h, "create", "--name", "opensdn", registry()+"/base:1.0"))
	for file, path := range map[string]string{
		"cacert_entrypoint.sh": "/", "opensdn": "/entrypoint.sh",
	} {
		must(t, docker1(t.Context(), h, "cp", filepath.Join(dir, file), "opensdn:"+path))
	}
	must(t, docker1(t.Context(), h, "cp", filepath.Join(dir, "opensdn"), "opensdn:/contrail-entrypoint.sh"))
	for _, o := range upstream {
		args := []string{"commit"}
		for _, change := range o.changes() {
			args = append(args, "--change", change)
		}
		must(t, docker1(t.Context(), h, append(args, "opensdn", o.ref())...))
	}
	must(t, docker1(t.Context(), h, "rm", "opensdn"))
}

// changes are the lines of a Dockerfile that tell one stand-in from another.
func (o opensdn) changes() []string {
	start := o.start
	if start == nil {
		start = []string{"/entrypoint.sh"}
	}
	list := func(words []string) string {
		b, _ := json.Marshal(words) // strings
		return string(b)
	}
	lines := []string{
		fmt.Sprintf("ENV SERVICE_NAME=%s STANDIN_PORTS=%q STANDIN_SELF=%s STANDIN_PEERS=%q", o.service, o.ports, o.self, o.peers),
		fmt.Sprintf("LABEL net.juniper.contrail.service=%s net.juniper.contrail.container.name=opensdn-%s", o.service, o.name),
		"ENTRYPOINT " + list(start),
		"CMD " + list(o.command),
	}
	if o.command == nil {
		lines = lines[:3]
	}
	if o.pod != "" {
		lines = append(lines, "ENV NODE_TYPE="+o.pod, "LABEL net.juniper.contrail.pod="+o.pod)
	}
	if o.once {
		lines = append(lines, "ENV STANDIN_ONCE=1")
	}
	return lines
}

// buildContrail builds our images over the stand-ins, with the builder that builds all images.
func buildContrail(t *testing.T, s *Stack, h *lab.Host) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "run", "-buildvcs=false", "./contrail-images/builder", "-b", "-s", "-t", "contrail",
		"-network", "none", "-logs", t.TempDir())
	cmd.Dir = s.Root
	cmd.Env = h.DockerCommand(t.Context()).Env
	bin, err := lab.EngineBin()
	must(t, err)
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
}

// copyImages gives a host the images of another.
func copyImages(t *testing.T, from, to *lab.Host, refs []string) {
	t.Helper()
	save, load := from.DockerCommand(t.Context(), append([]string{"save"}, refs...)...), to.DockerCommand(t.Context(), "load", "-q")
	var err error
	load.Stdin, err = save.StdoutPipe()
	must(t, err)
	must(t, save.Start())
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%s: load images: %v: %s", to.Name, err, out)
	}
	must(t, save.Wait())
}

func docker1(ctx context.Context, h *lab.Host, args ...string) error {
	_, err := h.Docker(ctx, args...)
	return err
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

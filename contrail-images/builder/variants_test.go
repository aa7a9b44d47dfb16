package main

import (
	"maps"
	"strings"
	"testing"
)

// Settings that change more than a value: what the files then have, and have not.
var variants = []struct {
	image, name string
	vars        map[string]string
	has, hasNot []string
}{
	{
		"cinder", "nfs",
		map[string]string{"CINDER_BACKEND": "nfs", "NFS_SHARES": "nas1:/a,nas2:/b", "NFS_OPTIONS": "vers=4.2"},
		[]string{"enabled_backends = nfs\n", "[nfs]\n", "nfs_mount_options = vers=4.2\n", "nas1:/a\nnas2:/b\n", "volume_driver = cinder.volume.drivers.nfs.NfsDriver\n"},
		[]string{"cinder:/volumes"},
	},
	{
		"cinder", "lvm",
		map[string]string{"CINDER_BACKEND": "lvm", "LVM_GROUP": "fast", "CINDER_HOST": "store2"},
		[]string{"[lvm]\n", "backend_host = store2\n", "volume_group = fast\n", "target_ip_address = 127.0.0.1\n", "target_helper = tgtadm\n"},
		[]string{"NfsDriver"},
	},
	{
		"cinder", "ceph",
		map[string]string{"CINDER_BACKEND": "ceph", "CEPH_POOL": "p", "CEPH_USER": "u", "CEPH_SECRET_UUID": "457eb676-33da-42ec-9a8c-9293d545c337"},
		[]string{"[ceph]\n", "rbd_pool = p\n", "rbd_user = u\n", "rbd_secret_uuid = 457eb676-33da-42ec-9a8c-9293d545c337\n"},
		[]string{"NfsDriver"},
	},
	{"cinder", "fake", map[string]string{"CINDER_BACKEND": "fake"}, []string{"[fake]\n", "FakeLoggingVolumeDriver\n"}, []string{"NfsDriver"}},
	{
		"bind", "recursive",
		map[string]string{"BIND_RECURSION_CLIENTS": "172.16.0.0/16,192.0.2.1", "BIND_FORWARDERS": "192.0.2.53 , 192.0.2.54", "BIND_DNSSEC_VALIDATION": "no"},
		[]string{"recursion yes;\n", "allow-recursion { 172.16.0.0/16; 192.0.2.1; };\n", "forwarders { 192.0.2.53; 192.0.2.54; };\n", "dnssec-validation no;\n"},
		[]string{"recursion no"},
	},
	{
		"bind", "zones",
		map[string]string{"BIND_ZONES": "example.org.,example.net", "BIND_SECONDARY_ZONES": "stacks.example.org=172.16.0.1,b.test=192.0.2.1#5354", "BIND_TRANSFER_CLIENTS": "192.0.2.2"},
		[]string{
			`zone "example.org" { type primary; file "example.org.zone"; };`, `zone "example.net" { type primary;`,
			`zone "stacks.example.org" { type secondary; primaries { 172.16.0.1; };`, `primaries { 192.0.2.1 port 5354; };`, "allow-transfer { 192.0.2.2; };", "recursion no;\n",
		},
		nil,
	},
	{
		"haproxy", "Galera",
		map[string]string{"FIRST_SERVICES": "galera1,galera2:3306", "FIRST_CHECK_PORT": "9200"},
		[]string{"option httpchk\n", "server galera1 galera1:3306 port 9200 on-marked-down", "server galera2 galera2:3306 port 9200 backup"},
		[]string{"mysql-check"},
	},
	{"heat", "RabbitMQ's user", map[string]string{"RABBIT_USER": "a@b:c"}, []string{"rabbit://a%40b%3Ac:"}, nil},
	{
		"control-control", "lists with blanks",
		map[string]string{"CONFIG_API_SERVER": "config1, config2", "CONTROL_NODES": "192.0.2.1, 192.0.2.2"},
		[]string{"CONFIG_NODES='config1,config2'\n", "CONTROL_NODES='192.0.2.1,192.0.2.2'\n"},
		nil,
	},
	{"cassandra", "lists with blanks", map[string]string{"CASSANDRA_SERVER": "cassandra1, cassandra2"}, []string{"CASSANDRA_SEEDS='cassandra1,cassandra2'\n"}, nil},
	// In the sandbox is a file that has one line: "127.0.0.1 localhost".
	{"heat", "from a file", map[string]string{"SERVICE_PASSWORD": "", "SERVICE_PASSWORD_FILE": "/etc/hosts"}, []string{"password = \"127.0.0.1 localhost\"\n"}, []string{`password = "contrail123"`}},
	{"bind", "nobody controls it", map[string]string{"RNDC_SECRET": ""}, []string{"controls { };\n"}, []string{"secret"}},
	{
		"designate", "two servers",
		map[string]string{"BIND_SERVER": "bind1,bind2", "DNS_NAMESERVERS": "ns1.example.net,ns2.example.net."},
		[]string{"{hostname: ns1.example.net., priority: 1}", "{hostname: ns2.example.net., priority: 2}", "description: bind1,", "description: bind2,"},
		nil,
	},
	{"horizon", "hosts", map[string]string{"HORIZON_ALLOWED_HOSTS": "cloud.example.org,.example.net"}, []string{`ALLOWED_HOSTS = ["cloud.example.org",".example.net","127.0.0.1"]`}, []string{`"*"`}},
	{"puppetserver", "autosign", map[string]string{"PUPPET_AUTOSIGN": "*.internal,node1"}, []string{"autosign = /etc/puppet/autosign.conf\n", "*.internal\nnode1\n"}, []string{"autosign = false"}},
	{
		"tempest", "services",
		map[string]string{"TEMPEST_SERVICES": "glance,nova", "TEMPEST_IMAGE": "cirros"},
		[]string{"nova = true\n", "glance = true\n", "cinder = false\n", "image_ref = cirros\n"},
		[]string{"flavor_ref"},
	},
}

func TestVariants(t *testing.T) {
	byName := map[string]*image{}
	for _, i := range repository(t).images {
		byName[i.name] = i
	}
	for _, v := range variants {
		t.Run(v.image+"/"+v.name, func(t *testing.T) {
			t.Parallel()
			i := byName[v.image]
			if i == nil {
				t.Fatalf("there is no image %s", v.image)
			}
			usual := environments(t, declared(t, i))[0].vars
			maps.Copy(usual, v.vars)
			box := newSandbox(t, i, true)
			out, err := box.run(usual)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			var text strings.Builder
			for _, f := range box.written(t) {
				text.WriteString(f.text)
			}
			for _, want := range v.has {
				if !strings.Contains(text.String(), want) {
					t.Errorf("%q is not in what it renders:\n%s", want, text.String())
				}
			}
			for _, no := range v.hasNot {
				if strings.Contains(text.String(), no) {
					t.Errorf("%q is in what it renders:\n%s", no, text.String())
				}
			}
		})
	}
}

// Settings that nobody can mean end the entrypoint with a word about what to do.
func TestRefused(t *testing.T) {
	for _, r := range []struct {
		image, want string
		vars        map[string]string
	}{
		{"cinder", "there are file, nfs, lvm, ceph and fake", map[string]string{"CINDER_BACKEND": "tape"}},
		{"cinder", "NFS_SHARES is not set", map[string]string{"CINDER_BACKEND": "nfs"}},
		{"etcd", "ETCD_QUOTA_MB is 2G", map[string]string{"ETCD_QUOTA_MB": "2G"}},
		{"keystone", "FERNET_SECRETS has an empty secret", map[string]string{"FERNET_SECRETS": ",old"}},
		{"keystone", "FERNET_SECRETS has an empty secret", map[string]string{"FERNET_SECRETS": "new, ,old"}},
		{"keystone", "more than one line", map[string]string{"FERNET_SECRETS": "new\nold"}},
		{"heat", "HEAT_SERVER has more than one line", map[string]string{"HEAT_SERVER": "heat\n[DEFAULT]\ndebug = true"}},
		{"heat", "REGION has more than one line, or a line with a carriage return", map[string]string{"REGION": "RegionOne\r"}},
		{"heat", "SERVICE_PASSWORD has more than one line", map[string]string{"SERVICE_PASSWORD": "", "SERVICE_PASSWORD_FILE": "/etc/passwd"}},
		{"heat", "SERVICE_PASSWORD_FILE is /dev/null, which is empty", map[string]string{"SERVICE_PASSWORD": "", "SERVICE_PASSWORD_FILE": "/dev/null"}},
		{"heat", "SERVICE_PASSWORD_FILE is /etc, which can't be read", map[string]string{"SERVICE_PASSWORD": "", "SERVICE_PASSWORD_FILE": "/etc"}},
		{"rally", "invalid JSON", map[string]string{"RALLY_TIMES": "many"}},
		// Within a here-document, where bash goes on.
		{"haproxy", "want NAME:PORT", map[string]string{"TCP_SERVICES": "rabbitmq"}},
		{"haproxy", "STATS_USER is me:you", map[string]string{"STATS_USER": "me:you", "STATS_PASSWORD": "x"}},
		{"bind", "ZONE=ADDRESS", map[string]string{"BIND_SECONDARY_ZONES": "example.org"}},
	} {
		for _, i := range repository(t).images {
			if i.name != r.image {
				continue
			}
			usual := environments(t, declared(t, i))[0].vars
			maps.Copy(usual, r.vars)
			if out, err := newSandbox(t, i, true).run(usual); err == nil || !strings.Contains(out, r.want) {
				t.Errorf("%s with %v: %v, want a word of %q: %s", r.image, r.vars, err, r.want, out)
			}
		}
	}
}

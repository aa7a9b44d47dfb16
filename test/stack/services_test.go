package stack

import (
	"context"
	"strings"
	"testing"
	"time"
)

// services is what stands beside the slice and needs no virtual machines.
var services = What{"services", []Group{
	{Files: []string{"database", "keystone", "glance"}, Host: 1},
	{Files: []string{"cinder", "heat", "designate"}, Host: 2},
}}

// TestServices makes a volume from an image, a stack of Heat's, and a zone that BIND answers, on one host. Then it lets
// what happens to containers happen to them, and finds all of it again.
func TestServices(t *testing.T) {
	Full(t)
	s := ForTest(t, Options{})
	ctx := t.Context()
	began := time.Now()
	if err := s.UpAll(ctx, services); err != nil {
		t.Fatal(err)
	}
	t.Logf("up and healthy after %.1f s", time.Since(began).Seconds())
	if err := s.StartClient(ctx, s.Host(1)); err != nil {
		t.Fatal(err)
	}
	sum := s.makeVolume(t)
	s.makeStack(t)
	s.makeZone(t)
	for name, do := range map[string]func(*testing.T){"tempest": s.tempest, "rally": s.rally, "bind": s.noOpenResolver} {
		t.Run(name, do)
	}

	before, err := s.Picture(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kill -9 of every container", "down and up", "reboot of all hosts at once"} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if err := StormNamed(name).Do(t.Context(), s, services); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := s.Healthy(t.Context(), wellLimit); err != nil {
				t.Fatal(err)
			}
			t.Logf("well %.1f s after it", time.Since(began).Seconds())
			s.Same(t, name, before)
			s.sameVolume(t, sum)
			s.moreRecords(t, name)
			s.waitStatus(t, "COMPLETE", "stack", "check", "--wait", "first", "-f", "value", "-c", "Stack Status")
		})
	}
	s.unmake(t)
}

// waitStatus repeats an `openstack` command until what it prints contains want, or it has ERROR or FAILED in it.
func (s *Stack) waitStatus(t *testing.T, want string, args ...string) {
	t.Helper()
	var got string
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		got, err = s.InClient(t.Context(), `exec openstack "$@"`, args...)
		if err == nil && strings.Contains(got, want) {
			return
		}
		if up := strings.ToUpper(got); err == nil && (strings.Contains(up, "ERROR") || strings.Contains(up, "FAILED")) {
			break
		}
	}
	t.Fatalf("openstack %s: %q, %v; waited for %q%s", strings.Join(args, " "), got, err, want, s.Unwell(context.WithoutCancel(t.Context())))
}

func (s *Stack) mustClient(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := s.InClient(t.Context(), script, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *Stack) volumeService(t *testing.T) {
	t.Helper()
	s.waitStatus(t, "up", "volume", "service", "list", "--service", "cinder-volume", "-f", "value", "-c", "State")
}

// makeVolume makes a volume from an image of random bytes, a snapshot of it, and a volume from that. It returns the
// SHA-256 of the bytes.
func (s *Stack) makeVolume(t *testing.T) string {
	t.Helper()
	s.volumeService(t)
	sum, err := s.UploadImage(t.Context(), "disk", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	s.mustClient(t, `openstack volume create --image disk --size 1 first`)
	s.waitStatus(t, "available", "volume", "show", "first", "-f", "value", "-c", "status")
	s.mustClient(t, `openstack volume snapshot create --volume first then`)
	s.waitStatus(t, "available", "volume", "snapshot", "show", "then", "-f", "value", "-c", "status")
	s.mustClient(t, `openstack volume create --snapshot then --size 1 second`)
	s.waitStatus(t, "available", "volume", "show", "second", "-f", "value", "-c", "status")
	s.sameVolume(t, sum)
	return sum
}

// sameVolume compares the beginning of both volumes, as their service would hand them to a virtual machine.
func (s *Stack) sameVolume(t *testing.T, sum string) {
	t.Helper()
	s.volumeService(t)
	for _, name := range []string{"first", "second"} {
		id := s.mustClient(t, `openstack volume show "$1" -f value -c id`, name)
		got, err := s.Host(1).Docker(t.Context(), "exec", "openstack-cinder-volume-1", "bash", "-c",
			`cd /var/lib/cinder/mnt/*/ && file=$(ls "volume-$0".* 2>/dev/null | grep -v info | tail -1) &&
			qemu-img convert -O raw "${file:-volume-$0}" /tmp/raw && head -c 1048576 /tmp/raw | sha256sum | cut -d' ' -f1; rm -f /tmp/raw`, id)
		if err != nil {
			t.Fatal(err)
		}
		if got = strings.TrimSpace(got); got != sum {
			t.Errorf("volume %s begins with bytes of SHA-256 %s, the image that it was made from has %s", name, got, sum)
		}
	}
}

// heatTemplate is a stack that needs Heat's own resources and a volume.
const heatTemplate = `heat_template_version: 2018-08-31
resources:
  secret: {type: OS::Heat::RandomString, properties: {length: 24}}
  volume: {type: OS::Cinder::Volume, properties: {size: 1}}
outputs:
  secret: {value: {get_attr: [secret, value]}}
`

func (s *Stack) makeStack(t *testing.T) {
	t.Helper()
	s.mustClient(t, `printf %s "$1" >/tmp/template.yaml; openstack stack create -t /tmp/template.yaml first`, heatTemplate)
	s.waitStatus(t, "CREATE_COMPLETE", "stack", "show", "first", "-f", "value", "-c", "stack_status")
	if got := s.mustClient(t, `openstack stack output show first secret -f value -c output_value`); len(got) != 24 {
		t.Errorf("the stack's random text of 24 characters is %q", got)
	}
}

func (s *Stack) makeZone(t *testing.T) {
	t.Helper()
	s.mustClient(t, `openstack zone create --email admin@example.org example.org.`)
	s.waitStatus(t, "ACTIVE", "zone", "show", "example.org.", "-f", "value", "-c", "status")
	s.moreRecords(t, "first")
}

// moreRecords makes a record, and asks BIND for it and for the first one.
func (s *Stack) moreRecords(t *testing.T, why string) {
	t.Helper()
	label := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, why), "-")
	s.mustClient(t, `openstack recordset create --type A --record 192.0.2.77 example.org. "$1"`, label)
	s.waitStatus(t, "ACTIVE", "recordset", "show", "example.org.", label+".example.org.", "-f", "value", "-c", "status")
	for _, name := range []string{"first", label} {
		if got := s.dig(t, name+".example.org", "A"); got != "192.0.2.77" {
			t.Errorf("BIND's answer for %s.example.org is %q", name, got)
		}
	}
}

// dig asks BIND from another container, by BIND's name.
func (s *Stack) dig(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.Host(1).Docker(t.Context(), append([]string{
		"run", "--rm", "--network", Network, "--entrypoint", "bash",
		registry() + "/bind:1.0", "-c", `exec dig +short "@$(getent ahostsv4 bind | cut -d" " -f1 | head -1)" "$@"`, "dig",
	}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// noOpenResolver asks for what BIND does not serve.
func (s *Stack) noOpenResolver(t *testing.T) {
	t.Helper()
	if got := s.dig(t, "+noshort", "+comments", "deb.debian.org", "A"); !strings.Contains(got, "REFUSED") {
		t.Errorf("BIND looks names up for everybody: %s", got)
	}
	if got := s.dig(t, "+noshort", "+comments", "example.org", "AXFR"); !strings.Contains(got, "Transfer failed") {
		t.Errorf("BIND gives whole zones to everybody: %s", got)
	}
}

// runOnce runs an image that ends by itself.
func (s *Stack) runOnce(t *testing.T, env []string, image string, args ...string) string {
	t.Helper()
	run := []string{"run", "--rm", "--network", Network, "--env-file", s.Root + "/compose/common.env"}
	for _, e := range env {
		run = append(run, "-e", e)
	}
	out, err := s.Host(1).Docker(t.Context(), append(append(run, image), args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tempest runs some of OpenStack's own tests of Keystone and Glance.
func (s *Stack) tempest(t *testing.T) {
	t.Helper()
	out := s.runOnce(t, []string{`TEMPEST_REGEX=^tempest\.api\.(identity\.v3\.test_(tokens|catalog|domains|projects)|image\.v2\.test_(images\.BasicOperationsImagesTest|images_member))`}, image("tempest"))
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, " - ") || strings.HasPrefix(line, "Ran:") {
			t.Log(strings.TrimSpace(line))
		}
	}
	if !strings.Contains(out, " - Failed: 0") || strings.Contains(out, " - Passed: 0\n") {
		t.Errorf("Tempest: %s", out)
	}
}

// rally puts some load on Keystone, and must notice when an API does not answer as it should.
func (s *Stack) rally(t *testing.T) {
	t.Helper()
	out := s.runOnce(t, []string{"RALLY_TIMES=50"}, image("rally"))
	if !strings.Contains(out, "100.0%") {
		t.Errorf("Rally: %s", out)
	}
	run := s.Host(1).DockerCommand(t.Context(), "run", "--rm", "--network", Network, "-e", "RALLY_STATUS=418", "-e", "RALLY_TIMES=2",
		"--env-file", s.Root+"/compose/common.env", image("rally"))
	if out, err := run.CombinedOutput(); err == nil {
		t.Errorf("Rally is content with an API whose status is another one: %s", out)
	}
}

// unmake removes what was made, which goes through all of the services again.
func (s *Stack) unmake(t *testing.T) {
	t.Helper()
	s.mustClient(t, `openstack stack delete --yes --wait first
		openstack volume delete second; openstack volume snapshot delete then; openstack zone delete example.org.`)
	left := func() string {
		return s.mustClient(t, `openstack volume snapshot list -f value -c Name; openstack volume list -f value -c Name | { grep -v first || true; }`)
	}
	for end := time.Now().Add(time.Minute); left() != "" && time.Now().Before(end); {
		time.Sleep(time.Second)
	}
	s.mustClient(t, `openstack volume delete first`)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Second) {
		if s.mustClient(t, `openstack volume list -f value; openstack zone list -f value`) == "" {
			return
		}
	}
	t.Errorf("what is left of volumes and zones: %s", s.mustClient(t, `openstack volume list; openstack zone list`))
}

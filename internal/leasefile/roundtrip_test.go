package leasefile

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dockstack/dockstack/internal/admin"
)

// names are what containers may be called, words that YAML and dnsmasq take for
// something else among them.
var names = rapid.OneOf(
	rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{1,40}`),
	rapid.SampledFrom([]string{"true", "No", "null", "0x10", "12h", "infinite", "ignore", "1e3", "12.5", "2024-01-01", "0o17", "localhost"}),
)

var addrs = rapid.Custom(func(t *rapid.T) netip.Addr {
	n := byte(rapid.IntRange(1, 254).Draw(t, "n"))
	if rapid.Bool().Draw(t, "six") {
		return netip.AddrFrom16([16]byte{0xfd, rapid.Byte().Draw(t, "net"), 15: n})
	}
	return netip.AddrFrom4([4]byte{172, 16, rapid.Byte().Draw(t, "net"), n})
})

// contents are what an export may have: no name has an address twice, and a
// CNAME stands alone.
var contents = rapid.Custom(func(t *rapid.T) Content {
	var c Content
	for _, a := range rapid.SliceOfNDistinct(addrs, 0, 8, rapid.ID[netip.Addr]).Draw(t, "addresses") {
		c.Reservations = append(c.Reservations, admin.Reservation{
			Name: names.Draw(t, "name"), Address: a,
			MAC:  rapid.SampledFrom([]string{"", "02:42:ac:10:00:02", "0a:00:00:00:00:01", "12:34:56:00:00:00"}).Draw(t, "mac"),
			Pool: rapid.SampledFrom([]string{"", "172.16.0.0/16@blue"}).Draw(t, "pool"),
		})
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`(\*\.)?[a-z0-9_-]{1,20}(\.[a-z0-9-]{1,10}){0,2}`), 0, 6, rapid.ID[string]).Draw(t, "records") {
		r := admin.Record{Name: name, TTL: rapid.Uint32Range(0, 1<<31-1).Draw(t, "ttl")}
		switch r.Type = rapid.SampledFrom(recordTypes).Draw(t, "type"); r.Type {
		case "A":
			r.Value = "172.16.0.9"
		case "AAAA":
			r.Value = "fd00::9"
		case "TXT":
			r.Value = rapid.StringMatching(`"[ -~]{0,20}"`).Draw(t, "text")
		case "SRV":
			r.Value = "1 2 3 web.lab."
		default:
			r.Value = names.Draw(t, "target")
		}
		c.Records = append(c.Records, r)
	}
	for _, p := range []string{"172.16.0.0/16", "fd00::/8"} {
		if prefix := netip.MustParsePrefix(p); covers(prefix, c.Reservations) {
			c.Subnets = append(c.Subnets, prefix)
		}
	}
	return c
})

func back(t *rapid.T, format string, data []byte) Result {
	r, err := Read("f", data, format)
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	for i := range r.Reservations {
		r.Reservations[i].From = ""
	}
	return r
}

// TestOurOwnExportComesBackAsItWas, to the byte.
func TestOurOwnExportComesBackAsItWas(t *testing.T) {
	for _, format := range []string{YAML, JSON} {
		rapid.Check(t, func(t *rapid.T) {
			c := contents.Draw(t, "content")
			data, gone, err := Write(format, c)
			if err != nil || len(gone) > 0 {
				t.Fatalf("%v, left out %v", err, gone)
			}
			r := back(t, format, data)
			if len(r.LeftOut) > 0 || !slices.Equal(r.Reservations, c.Reservations) || !slices.Equal(r.Records, c.Records) || !slices.Equal(r.Subnets, c.Subnets) {
				t.Fatalf("came back as %+v, left out %v\n%s", r.Content, r.LeftOut, data)
			}
			if found, err := detect("f."+format, data); err != nil || found != format && len(c.Reservations)+len(c.Records) > 0 {
				t.Fatalf("taken for %q, %v\n%s", found, err, data)
			}
			again, _, err := Write(format, r.Content)
			if err != nil || string(again) != string(data) {
				t.Fatalf("written again it differs, %v:\n%s\nwas\n%s", err, again, data)
			}
		})
	}
}

// TestOtherFormatsKeepWhatTheyHaveRoomFor: what is written comes back, and the
// rest is listed, also in the file.
func TestOtherFormatsKeepWhatTheyHaveRoomFor(t *testing.T) {
	for _, format := range []string{Hosts, DnsmasqConf} {
		rapid.Check(t, func(t *rapid.T) {
			c := contents.Draw(t, "content")
			data, gone, err := Write(format, c)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range gone {
				if !strings.Contains(string(data), "# Not in here: "+g.What+": "+g.Reason) {
					t.Fatalf("the file does not say what it lacks: %+v\n%s", g, data)
				}
			}
			r := back(t, format, data)
			for _, want := range c.Reservations {
				listed := slices.ContainsFunc(gone, func(l LeftOut) bool { return l.What == want.Name+" "+want.Address.String() })
				dotted := strings.Contains(want.Name, ".") || slices.Contains(wellKnown, want.Name) // a host's name ends where its domain begins
				found := slices.ContainsFunc(r.Reservations, func(g admin.Reservation) bool {
					return g.Name == want.Name && g.Address == want.Address && (format == Hosts || g.MAC == want.MAC)
				})
				if !found && !listed && !dotted {
					t.Fatalf("%+v is neither in the file nor listed\n%s", want, data)
				}
			}
			for _, want := range c.Records {
				if !strings.Contains(string(data), strings.TrimPrefix(want.Name, "*.")) {
					t.Fatalf("%+v is neither in the file nor listed\n%s", want, data)
				}
			}
		})
	}
}

// TestDnsmasqRecordsComeBack: records that dnsmasq has lines for mean the same
// after writing and reading.
func TestDnsmasqRecordsComeBack(t *testing.T) {
	r, err := Read("f", read(t, "testdata/dnsmasq.conf"), DnsmasqConf)
	if err != nil {
		t.Fatal(err)
	}
	data, gone, err := Write(DnsmasqConf, r.Content)
	if err != nil || len(gone) > 0 {
		t.Fatalf("%v, left out %v", err, gone)
	}
	again, err := Read("f", data, DnsmasqConf)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range r.Records {
		if want.TTL = 0; !slices.ContainsFunc(again.Records, func(g admin.Record) bool { g.TTL = 0; return g == want }) {
			t.Errorf("%+v is lost\n%s", want, data)
		}
	}
	if len(again.Records) != len(r.Records) || len(again.Reservations) != len(r.Reservations) {
		t.Errorf("%d records became %d, %d reservations %d\n%s", len(r.Records), len(again.Records), len(r.Reservations), len(again.Reservations), data)
	}
}

// TestHostsFileSaysWhatItLacksInFewLines: it is meant to be read, by people too.
func TestHostsFileSaysWhatItLacksInFewLines(t *testing.T) {
	c := Content{Records: []admin.Record{{Name: "db", Type: "CNAME", Value: "mariadb"}, {Name: "vip", Type: "A", Value: "172.16.0.254"}, {Name: "*.apps", Type: "A", Value: "172.16.0.2"}, {Name: "x", Type: "TXT", Value: `"y"`}}}
	for i, name := range []string{"mariadb", "rabbitmq", "web"} {
		c.Reservations = append(c.Reservations, admin.Reservation{Name: name, Address: netip.AddrFrom4([4]byte{172, 16, 0, byte(i + 2)}), MAC: "02:42:ac:10:00:02", Pool: "172.16.0.0/16", Network: "internal"})
	}
	c.Reservations[2].Pool = "172.16.0.0/16@blue"
	got, _, err := Write(Hosts, c)
	want := `# Leases of dockstack as a hosts file: an address, the container's name, other names.
# Not in here: *.apps A 172.16.0.2: a hosts file has no wildcards.
# Not in here: x TXT "y": a hosts file has addresses alone.
# Not in here: the MACs of mariadb and 2 more: a hosts file has none.
# Not in here: the overlay of 172.16.0.0/16@blue: it has 1 of the addresses.
172.16.0.2 mariadb db
172.16.0.3 rabbitmq
172.16.0.4 web
172.16.0.254 vip
`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

// TestRealDnsmasqTakesWhatIsWritten, and the notations that are read.
func TestRealDnsmasqTakesWhatIsWritten(t *testing.T) {
	dnsmasq, err := exec.LookPath("dnsmasq")
	if err != nil {
		t.Fatalf("what is written is tried with the real dnsmasq: %v; run `make deps`", err)
	}
	takes := func(args ...string) {
		if out, err := exec.CommandContext(t.Context(), dnsmasq, append([]string{"--test", "--user=root"}, args...)...).CombinedOutput(); err != nil {
			t.Errorf("dnsmasq --test %v: %v: %s", args, err, out)
		}
	}
	put := func(data string) string {
		file := filepath.Join(t.TempDir(), "dnsmasq.conf")
		if err := os.WriteFile(file, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return "--conf-file=" + file
	}
	// What names other files is not here, nor what no dnsmasq knows.
	notations := regexp.MustCompile(`(?m)^(conf-dir|addn-hosts|log-qeuries).*\n`).ReplaceAllString(string(read(t, "testdata/dnsmasq.conf")), "")
	takes(put(notations))
	takes("--conf-file=/dev/null", "--dhcp-hostsfile=testdata/dhcp-hosts")
	r, err := Read("dnsmasq.conf", []byte(notations), DnsmasqConf)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"12h", "infinite", "ignore", "true", "7", "12.5", "My_App.1", "a-b", "x_y", "0x10", "id", "tag"} {
		r.Reservations = append(r.Reservations, admin.Reservation{Name: name, Address: netip.AddrFrom4([4]byte{172, 16, 9, byte(i)})})
	}
	r.Records = append(r.Records, admin.Record{Name: "txt.lab", Type: "TXT", Value: `"a, \"b\" #c" "d\\e"`}, admin.Record{Name: "_x._udp.lab", Type: "SRV", Value: "0 0 53 ns.lab."})
	for _, text := range []string{`"\001x"`, `"x`, `x`, `"\999"`} {
		r.Records = append(r.Records, admin.Record{Name: "odd.lab", Type: "TXT", Value: text})
	}
	data, gone, err := Write(DnsmasqConf, r.Content)
	if err != nil {
		t.Fatal(err)
	}
	takes(put(string(data)))
	if n := strings.Count(fmt.Sprint(gone), "odd.lab"); n != 4 {
		t.Errorf("%d of 4 texts that dnsmasq can't have are listed: %v", n, gone)
	}
	if want := `txt-record=txt.lab,"a, \"b\" #c","d\\e"`; !strings.Contains(string(data), want+"\n") {
		t.Errorf("there is no line %s", want)
	}
	if t.Failed() {
		t.Logf("%s", data)
	}
}

func TestFormatsThatAreNotWritten(t *testing.T) {
	if _, _, err := Write("host", Content{}); err == nil || !strings.Contains(err.Error(), "`hosts`") {
		t.Errorf("got %v", err)
	}
}

// FuzzRead: whatever bytes come, in whatever format, there is a result that can
// be written or an error that names the file.
func FuzzRead(f *testing.F) {
	for i, seed := range []string{
		"0 02:42:ac:10:00:02 172.16.0.2 web *\nduid 00:01\n0 T1 fd00::2 web 00:01\n", "172.16.0.2 web web.lab db\n",
		"dhcp-host=02:42:ac:10:00:02,set:x,172.16.0.2,[fd00::2],web,12h\nhost-record=a,b,10.0.0.1,fd00::1,60\naddress=/a/*.b/10.0.0.1\ncname=a,b\n",
		"srv-host=_a._tcp,web,1,2,3\ntxt-record=a,\"b, c\",d\nptr-record=1.0.0.10.in-addr.arpa,web\ndhcp-range=10.0.0.1,10.0.0.9,255.255.0.0\n",
		"02:42:ac:10:00:02,172.16.0.2,web\n", web,
		"reservations:\n- {name: web, address: 172.16.0.2}\nrecords:\n- {name: '*.a', type: CNAME, value: web}\nsubnets: [172.16.0.0/16]\n",
		"containers:\n  web1: {ip: 10.0.0.2, mask: 16}\n",
	} {
		f.Add(seed, uint8(i))
	}
	formats := append([]string{""}, Readable...)
	f.Fuzz(func(t *testing.T, text string, which uint8) {
		format := formats[int(which)%len(formats)]
		r, err := source{name: "f", data: []byte(text)}.read(format)
		if err != nil {
			if !strings.Contains(err.Error(), "f:") {
				t.Errorf("%s: the error does not name the file: %v", format, err)
			}
			return
		}
		for _, v := range r.Reservations {
			if !containerName.MatchString(v.Name) || !v.Address.IsValid() || unusable(v.Address) != "" || v.From == "" {
				t.Errorf("%s: took %+v", r.Format, v)
			}
		}
		for _, l := range r.LeftOut {
			if l.From == "" || l.Reason == "" || l.What != plain(l.What) {
				t.Errorf("%s: left out %+v", r.Format, l)
			}
		}
		for _, format := range Writable {
			data, _, err := Write(format, r.Content)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Read("g", data, format); err != nil {
				t.Errorf("what was read from %s can't be read back as %s: %v\n%s", r.Format, format, err, data)
			}
		}
	})
}

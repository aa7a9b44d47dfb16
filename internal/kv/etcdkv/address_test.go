package etcdkv_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/kv/etcdkv"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]etcdkv.Address{
		"etcd://10.0.0.1":                           {Endpoints: []string{"10.0.0.1:2379"}, Prefix: "/dockstack"},
		"etcd://10.0.0.1:2379,10.0.0.2:2380/":       {Endpoints: []string{"10.0.0.1:2379", "10.0.0.2:2380"}, Prefix: "/dockstack"},
		"etcds://Etcd-1.Example.com:1,b_2:65535/a":  {Endpoints: []string{"etcd-1.example.com:1", "b_2:65535"}, TLS: true, Prefix: "/a"},
		"etcd://[2001:db8::1]:2379,[::1]/x/y.z_1-2": {Endpoints: []string{"[2001:db8::1]:2379", "[::1]:2379"}, Prefix: "/x/y.z_1-2"},
		"etcd://host/x/":                            {Endpoints: []string{"host:2379"}, Prefix: "/x"},
	} {
		got, err := etcdkv.Parse(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", in, got, err, want)
		}
		if again, err := etcdkv.Parse(got.String()); err != nil || !reflect.DeepEqual(got, again) {
			t.Errorf("%s: %s reads as %+v, %v", in, got, again, err)
		}
	}
}

func TestParseSaysWhatIsWrong(t *testing.T) {
	for in, want := range map[string]string{
		"":                                     "does not begin with etcd://",
		"10.0.0.1:2379":                        "does not begin with etcd://",
		"http://10.0.0.1:2379":                 "write etcd:// instead of http://",
		"https://10.0.0.1:2379":                "write etcds:// instead of https://",
		"redis://10.0.0.1":                     `"redis" is neither etcd nor, for TLS, etcds`,
		"ETCD://10.0.0.1":                      "neither etcd nor",
		"etcd://":                              "names no host",
		"etcd:///prefix":                       "names no host",
		"etcd://a,,b":                          "between two commas",
		"etcd://a,":                            "between two commas",
		"etcd://a:0":                           `"0" is no port`,
		"etcd://a:65536":                       `"65536" is no port`,
		"etcd://a:http":                        `"http" is no port`,
		"etcd://a:":                            `"" is no port`,
		"etcd://a:+1":                          `"+1" is no port`,
		"etcd://a:0123":                        `"0123" is no port`,
		"etcd://a,a:2379":                      "a:2379 is there twice",
		"etcd://A:2379,a":                      "a:2379 is there twice",
		"etcd://a:2379,etcds://b:2379":         "schemes are mixed (etcd and etcds)",
		"etcd://a:2379,http://b:2379":          "schemes are mixed (etcd and http)",
		"etcd://a:2379,etcd://b:2379/p":        "write etcd:// once",
		"etcd://user:pw@a:2379":                "settings of their own, DOCKSTACK_STORE_USER",
		"etcd://2001:db8::1":                   "in brackets: [2001:db8::1]:2379",
		"etcd://[10.0.0.1]:2379":               "is no IPv6 address",
		"etcd://[::1:2379":                     "no name or address",
		"etcd://10.0.0.256":                    "no IPv4 address",
		"etcd://10.0.0":                        "no IPv4 address",
		"etcd://0.0.0.0:2379":                  "where a server listens",
		"etcd://a b":                           "no name or address",
		"etcd://-a":                            "no name or address",
		"etcd://a..b":                          "no name or address",
		"etcd://a//b":                          "has an empty part",
		"etcd://a/b//":                         "has an empty part",
		"etcd://a/b c":                         `has " " in it`,
		"etcd://a/b?x=1":                       `has "?" in it`,
		"etcd://a/b,c:2379":                    `has "," in it`,
		"etcd://a/\x00":                        "has",
		"etcd://a/" + strings.Repeat("x", 300): "has 300 characters, 256 is the most",
	} {
		got, err := etcdkv.Parse(in)
		if !errors.Is(err, etcdkv.ErrAddress) {
			t.Errorf("%q: got %+v, %v", in, got, err)
			continue
		}
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "an example: etcd://") {
			t.Errorf("%q: %q lacks %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"etcd://10.0.0.1:2379,10.0.0.2:2379/dockstack", "etcds://[::1]:2379", "etcd://a,b,c/x/y", "http://x", "etcd://a:1,etcds://b", "etcd://u@a", "://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := etcdkv.Parse(s)
		if err != nil {
			if !errors.Is(err, etcdkv.ErrAddress) || !reflect.DeepEqual(a, etcdkv.Address{}) {
				t.Errorf("%q: %+v, %v", s, a, err)
			}
			return
		}
		again, err := etcdkv.Parse(a.String())
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Errorf("%q reads as %+v, that as %+v, %v", s, a, again, err)
		}
		if len(a.Endpoints) == 0 || !strings.HasPrefix(a.Prefix, "/") || strings.HasSuffix(a.Prefix, "/") {
			t.Errorf("%q reads as %+v", s, a)
		}
	})
}

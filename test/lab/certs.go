package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certs is a directory with a certificate authority of the lab's own, and what it signed.
type certs struct {
	dir   string
	addrs []string // of the servers
}

// What the authority signs.
const (
	serverCert = "server" // for every member
	clientCert = "client"
)

func (l *Lab) certs() certs {
	c := certs{dir: filepath.Join(l.Dir, certsDir)}
	for i := 1; i <= l.opts.Etcd; i++ {
		c.addrs = append(c.addrs, underlayAddr(memberFirst+i))
	}
	return c
}

func (c certs) ca() string              { return filepath.Join(c.dir, "ca.pem") }
func (c certs) cert(name string) string { return filepath.Join(c.dir, name+".pem") }
func (c certs) key(name string) string  { return filepath.Join(c.dir, name+"-key.pem") }
func (c certs) write(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// make writes new certificates, valid for a day.
func (c certs) make() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dockstack lab"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, key.Public(), key)
	if err != nil {
		return err
	}
	if err := c.write(c.ca(), "CERTIFICATE", der); err != nil {
		return err
	}
	for i, name := range []string{serverCert, clientCert} {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: name},
			NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		if name == serverCert {
			for _, a := range c.addrs {
				leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(a))
			}
		}
		if err := c.sign(name, leaf, authority, key); err != nil {
			return err
		}
	}
	return nil
}

func (c certs) sign(name string, leaf, authority *x509.Certificate, by *ecdsa.PrivateKey) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), by)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := c.write(c.key(name), "PRIVATE KEY", private); err != nil {
		return err
	}
	return c.write(c.cert(name), "CERTIFICATE", der)
}

// StoreSettings are the plugin's settings that join the host to the lab's etcd; none in a lab without one. Where the
// etcd asks for certificates they are put on the host.
func (h *Host) StoreSettings(ctx context.Context) ([]string, error) {
	url := h.lab.EtcdURL()
	if url == "" {
		return nil, nil
	}
	settings := []string{"DOCKSTACK_STORE=" + url}
	if !h.lab.opts.EtcdTLS {
		return settings, nil
	}
	c := h.lab.certs()
	for _, f := range []struct{ setting, from string }{
		{"DOCKSTACK_STORE_CA", c.ca()},
		{"DOCKSTACK_STORE_CERT", c.cert(clientCert)},
		{"DOCKSTACK_STORE_KEY", c.key(clientCert)},
	} {
		text, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		to := "/etc/dockstack/" + filepath.Base(f.from)
		if err := h.WriteFile(to, string(text)); err != nil {
			return nil, err
		}
		settings = append(settings, f.setting+"="+to)
	}
	_, err := h.Exec(ctx, "sh", "-c", "chmod 600 /etc/dockstack/*.pem")
	return settings, err
}

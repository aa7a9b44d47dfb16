package etcdtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are an authority and what it signed, as files.
type Certs struct {
	// CA is the authority's certificate.
	CA string
	// ServerCert and ServerKey are the members', for 127.0.0.1 and localhost.
	ServerCert, ServerKey string
	// ClientCert and ClientKey are a client's.
	ClientCert, ClientKey string

	tb   testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCerts makes an authority, a server's certificate and a client's.
func NewCerts(tb testing.TB) *Certs {
	tb.Helper()
	c := &Certs{tb: tb, dir: tb.TempDir()}
	c.CA, _ = c.issue("ca", &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	c.ServerCert, c.ServerKey = c.Issue("server", "localhost", time.Now().Add(time.Hour))
	c.ClientCert, c.ClientKey = c.Issue("client", "dockstack", time.Now().Add(time.Hour))
	return c
}

// Issue makes files of a certificate and its key, for 127.0.0.1 and for host. A
// host that begins with a dot is no host: the certificate is for example.com
// alone.
func (c *Certs) Issue(name, host string, notAfter time.Time) (cert, key string) {
	c.tb.Helper()
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: host}, NotAfter: notAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{host}, IPAddresses: []net.IP{{127, 0, 0, 1}}, //nolint:forbidigo // x509 takes it so
	}
	if host[0] == '.' {
		t.DNSNames, t.IPAddresses = []string{"example.com"}, nil
	}
	return c.issue(name, t)
}

func (c *Certs) issue(name string, t *x509.Certificate) (cert, key string) {
	c.tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	c.must(err)
	t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	c.must(err)
	t.NotBefore = time.Now().Add(-2 * time.Hour)
	signer, signKey := c.cert, c.key
	if signer == nil {
		signer, signKey = t, k
	}
	der, err := x509.CreateCertificate(rand.Reader, t, signer, &k.PublicKey, signKey)
	c.must(err)
	if c.cert == nil {
		c.cert, err = x509.ParseCertificate(der)
		c.must(err)
		c.key = k
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	c.must(err)
	return c.file(name+".crt", "CERTIFICATE", der), c.file(name+".key", "EC PRIVATE KEY", keyDER)
}

func (c *Certs) file(name, kind string, der []byte) string {
	c.tb.Helper()
	path := filepath.Join(c.dir, name)
	c.must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	return path
}

func (c *Certs) must(err error) {
	c.tb.Helper()
	if err != nil {
		c.tb.Fatal(err)
	}
}

// clientConfig has the client's certificate. It takes any server's, because
// tests have servers with wrong ones.
func (c *Certs) clientConfig() *tls.Config {
	pair, err := tls.LoadX509KeyPair(c.ClientCert, c.ClientKey)
	c.must(err)
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12} //nolint:gosec // see above
}

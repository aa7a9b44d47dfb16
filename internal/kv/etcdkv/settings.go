package etcdkv

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Settings are what Open takes.
type Settings struct {
	Address Address
	// CA is a file with the certificates of the authorities that may vouch for
	// members; where it is empty the host's own authorities do.
	CA string
	// Cert and Key are the files that show members who we are, or empty.
	Cert, Key string
	// User and PasswordFile log in, or are empty.
	User, PasswordFile string
	// Log gets what no call can return, such as why a mark can't be kept.
	Log *slog.Logger
}

// login is what was read of the settings' files.
type login struct {
	user, password string
	tls            func() (*tls.Config, error)
}

func (s Settings) login() (login, error) {
	var l login
	if len(s.Address.Endpoints) == 0 {
		return l, fmt.Errorf("%w: it names no host", ErrAddress)
	}
	if !s.Address.TLS && (s.CA != "" || s.Cert != "" || s.Key != "") {
		return l, fmt.Errorf("there are TLS files, but DOCKSTACK_STORE begins with etcd://: write etcds:// in front of %s", s.Address.Endpoints[0])
	}
	if (s.Cert == "") != (s.Key == "") {
		return l, errors.New("DOCKSTACK_STORE_CERT and DOCKSTACK_STORE_KEY belong together: set both or none")
	}
	if s.Address.TLS {
		// Files are read with each connection, so that they can be renewed.
		l.tls = s.tlsConfig
		if _, err := s.tlsConfig(); err != nil {
			return l, err
		}
	}
	return l, s.password(&l)
}

func (s Settings) password(l *login) error {
	switch {
	case s.User == "" && s.PasswordFile == "":
		return nil
	case s.User == "":
		return errors.New("DOCKSTACK_STORE_PASSWORD_FILE is set, DOCKSTACK_STORE_USER is not")
	case s.PasswordFile == "":
		return fmt.Errorf("the user %s needs a password: set DOCKSTACK_STORE_PASSWORD_FILE", s.User)
	}
	b, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return fmt.Errorf("the password of user %s: %w; see DOCKSTACK_STORE_PASSWORD_FILE", s.User, err)
	}
	password := strings.TrimRight(string(b), "\r\n")
	if password == "" || strings.ContainsAny(password, "\r\n") {
		return fmt.Errorf("the password of user %s: %s has not one line", s.User, s.PasswordFile)
	}
	l.user, l.password = s.User, password
	return nil
}

func (s Settings) tlsConfig() (*tls.Config, error) {
	// etcd asks for 1.2 at least, and gRPC speaks HTTP/2 alone.
	out := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if s.CA != "" {
		b, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("the store's authority: %w; see DOCKSTACK_STORE_CA", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("the store's authority: %s has no certificate in PEM form; see DOCKSTACK_STORE_CA", s.CA)
		}
	}
	if s.Cert == "" {
		return out, nil
	}
	cert, err := os.ReadFile(s.Cert)
	if err != nil {
		return nil, fmt.Errorf("our certificate for the store: %w; see DOCKSTACK_STORE_CERT", err)
	}
	key, err := os.ReadFile(s.Key)
	if err != nil {
		return nil, fmt.Errorf("our key for the store: %w; see DOCKSTACK_STORE_KEY", err)
	}
	pair, err := tls.X509KeyPair(bytes.TrimSpace(cert), bytes.TrimSpace(key))
	if err != nil {
		return nil, fmt.Errorf("our certificate %s and key %s for the store: %w; see DOCKSTACK_STORE_CERT and DOCKSTACK_STORE_KEY", s.Cert, s.Key, err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}

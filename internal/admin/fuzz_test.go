package admin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dockstack/dockstack/internal/admin"
	"github.com/dockstack/dockstack/internal/admin/admintest"
)

// Whatever is sent, the answer is JSON, errors have a code, and nothing fails in a
// way that is a bug.
func FuzzHandler(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "/v1/leases?name=rab*&state=live", ""},
		{"GET", "/v1/watch?since=0", ""},
		{"POST", "/v1/reserve", `{"name":"web","address":"172.16.0.9","network":"internal"}`},
		{"POST", "/v1/release", `{"name":"mariadb","pool":"172.16.0.0/16"}`},
		{"POST", "/v1/rename", `{"name":"mariadb","to":"db2"}`},
		{"POST", "/v1/import", `{"reservations":[{"name":"x","address":"172.16.0.7","network":"front"}],"subnets":["10.0.0.0/8"]}`},
		{"POST", "/v1/hosts/forget", `{"host":"node3"}`},
		{"POST", "/v1/restore?dry_run=true", "{\"dockstack_backup\":1}\n"},
		{"POST", "/v1/dns", `{"name":"web","type":"A","client":"::1"}`},
		{"POST", "/v1/records", `{"name":"a","type":"A","value":"1.2.3.4","ttl":4294967295}`},
		{"POST", "/v1/records/remove", `{"name":"a"}`},
		{"POST", "/v1/doctor", ""},
		{"GET", "/v1/backup", ""},
		{"DELETE", "//v1/../v1/leases", "\x00"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(method, " \r\n\t") || method == "" {
			return // net/http refuses them before
		}
		s := admin.NewServer(admintest.New(), "1.0", slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.URL = method, u
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "that is a bug") {
			t.Errorf("%s %s %q is a bug: %s", method, target, body, w.Body)
		}
		if w.Code >= 400 {
			var e admin.Error
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Code == "" || e.Text == "" {
				t.Errorf("%s %s: status %d with %q", method, target, w.Code, w.Body)
			}
		}
	})
}

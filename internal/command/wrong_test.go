package command

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dockstack/dockstack/internal/admin"
)

// Every verb, with what is wrong: the code is right, and the error names the thing
// and the nearest right one.
func TestWrongInput(t *testing.T) {
	w := newWorld(t)
	w.Found.Findings = []admin.Finding{{ID: "x", Severity: admin.SeverityError, What: "broken"}}
	hosts := w.file("hosts", "172.16.0.31 other\n")
	odd := w.file("odd", "what is this\n")
	dir := t.TempDir()
	for _, tt := range []struct {
		code  int
		words string
		args  string
	}{
		{2, "no verb `lss`; did you mean `ls`?", "lss"},
		{2, "no verb `frobnicate`; there are backup, completion", "frobnicate"},
		{2, "unknown flag: --addrss; did you mean `--address`?", "ls --addrss x"},
		{2, "unknown flag: --jsn; did you mean `--json`?", "status --jsn"},
		{2, "unknown flag: --sokcet; did you mean `--socket`?", "status --sokcet x"},
		{2, "flag needs an argument", "ls --name"},
		{2, "unknown shorthand", "ls -x"},
		{3, "no name `rabitmq1`; did you mean `rabbitmq1` or `rabbitmq2`?", "ls rabitmq1"},
		{3, "no network `intenal`; did you mean `internal`?", "ls --network intenal"},
		{3, "no host `node9`; did you mean `node1`", "ls --host node9"},
		{2, "no state `prked`; did you mean `parked`?", "ls --state prked"},
		{2, "did you mean `parked`? The states are live, parked", "ls --state prked"},
		{2, "--host has an empty word", "ls --host="},
		{2, "--name has an empty word", "ls --name a,,b"},
		{2, "`foo` is no MAC address", "ls --mac foo"},
		{2, "exclude each other", "ls --reserved --state live"},
		{2, "`172.16.0.300` is no address", "ls --address 172.16.0.300"},
		{2, "`dockstack status` takes no `now`", "status now"},
		{2, "needs NAME", "reserve"},
		{2, "`172.16.0.256` is no address", "reserve web 172.16.0.256"},
		{2, "did you mean `172.16.0.9`?", "reserve web 172.16.0.9/16"},
		{2, "it has an interface", "reserve web fe80::1%eth0"},
		{2, "`xx` is no MAC address", "reserve web 172.16.0.9 --mac xx"},
		{2, "can't be a container's name", "reserve web/1 172.16.0.9"},
		{2, "is no address of network `internal`, which has 172.16.0.0/16", "reserve web 10.0.0.1 --network internal"},
		{2, "--network and --pool exclude each other", "reserve web 172.16.0.9 --network a --pool b"},
		{4, "172.16.0.31 is rabbitmq1's", "reserve web 172.16.0.31"},
		{2, "--subnet and --network exclude each other", "reserve web 10.0.0.9 --subnet 10.0.0.0/8 --network a"},
		{2, "did you mean `10.0.0.0/8`?", "reserve web 10.0.0.9 --subnet 10.1.0.0/8"},
		{2, "`` is no subnet", "reserve web 10.0.0.9 --subnet="},
		{2, "11.0.0.9 is no address in 10.0.0.0/8", "reserve web 11.0.0.9 --subnet 10.0.0.0/8"},
		{2, "needs an address", "reserve web --subnet 10.0.0.0/8"},
		{4, "can't be reserved for `web`: it is rabbitmq1's", "reserve web 172.16.0.31 --subnet 172.16.0.0/16"},
		{2, "`x` is too much", "reserve web 172.16.0.9 x"},
		{4, "stop it first", "release rabbitmq1"},
		{3, "no name `rabbit`", "release rabbit"},
		{2, "needs NEW", "rename rabbitmq1"},
		{4, "there is a rabbitmq2", "rename mariadb rabbitmq2"},
		{2, "needs FILE", "import"},
		{3, "no file `" + hosts + "x`; did you mean `" + hosts + "`?", "import " + hosts + "x"},
		{2, "no format `yml`; did you mean `yaml`", "import --format yml " + hosts},
		{2, "did you mean `10.0.0.0/8`?", "import --subnet 10.1.0.0/8 " + hosts},
		{2, "`x` is no subnet", "import --subnet x " + hosts},
		{4, "nothing was imported: 1 clash", "import " + hosts},
		{1, "nothing was imported", "import " + odd},
		{3, "no network `intrnal`; did you mean `internal`?", "import --network intrnal " + hosts},
		{2, "no format `hostss`; did you mean `hosts`?", "export --format hostss"},
		{3, "no network `fornt`; did you mean `front`?", "export --network fornt"},
		{1, "write " + dir + "/none/x", "export " + dir + "/none/x"},
		{2, "needs FILE", "convert"},
		{3, "no file", "convert " + dir + "/none.yaml"},
		{1, "odd:1", "convert " + odd},
		{2, "needs FILE", "backup"},
		{2, "is no file", "backup " + dir},
		{1, "no such file or directory", "backup " + dir + "/none/x"},
		{3, "no file", "restore " + dir + "/none"},
		{2, "no backup of dockstack", "restore " + odd},
		{2, "needs NAME", "dns"},
		{2, "no DNS type `AAA`; did you mean `AAAA`", "dns web AAA"},
		{2, "is no DNS name", "dns a..b"},
		{2, "--from: `x` is no address", "dns web --from x"},
		{2, "needs a verb", "record"},
		{2, "no verb `ad`; did you mean `add`?", "record ad"},
		{2, "needs TYPE and VALUE", "record add web"},
		{2, "no type of record `AAAAA`; did you mean `AAAA`", "record add web AAAAA ::1"},
		{2, "invalid argument \"x\" for \"--ttl\"", "record add web A 1.2.3.4 --ttl x"},
		{3, "no record `web`", "record rm web"},
		{2, "no kind of event `liev`; did you mean `live`?", "watch --kind liev"},
		{2, "no verb `forgt`; did you mean `forget`?", "host forgt node3"},
		{3, "no host `node33`; did you mean `node3`", "host forget node33"},
		{4, "node2 is alive", "host forget node2"},
		{2, "needs a shell", "completion"},
		{2, "no verb `bsh`; did you mean `bash`", "completion bsh"},
		{2, "takes no `x`", "version x"},
		{1, "", "doctor"},
	} {
		w.fails(tt.code, tt.words, strings.Fields(tt.args)...)
	}
}

// A daemon that is away: every verb that asks it says so, with the way out.
func TestDaemonAway(t *testing.T) {
	w := newWorld(t)
	w.env[envSocket] = filepath.Join(t.TempDir(), "none.sock")
	file := w.file("hosts", "172.16.0.9 x1\n")
	good := w.file("backup", backupText(t))
	for _, args := range []string{
		"ls", "status", "doctor", "watch", "dns web", "reserve web 172.16.0.9", "release web", "rename aa bb", "record ls", "record add a A 1.2.3.4",
		"record rm a", "host ls", "host forget x", "import " + file, "export", "backup " + filepath.Join(t.TempDir(), "b"), "restore " + good,
	} {
		w.fails(ExitUnreachable, "docker plugin enable dockstack-plugin", strings.Fields(args)...)
		w.fails(ExitUnreachable, w.env[envSocket], strings.Fields(args)...)
	}
	if got := w.does("version"); got != "dockstack 1.0, daemon not reached\n" {
		t.Errorf("version says %q", got)
	}
	// --socket goes before the environment.
	w.does("ls", "--socket", w.socket)
	if got := w.runs("daemon"); got.code != 7 {
		t.Errorf("the daemon's exit code becomes %d", got.code)
	}
}

func backupText(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := admin.WriteBackup(&b, admin.BackupInfo{Version: "1.0"}, []admin.BackupEntry{{Key: "a", Value: []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

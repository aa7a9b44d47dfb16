package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// Main is the name of the lab that `make lab` starts.
	Main = "main"
	// runRoot holds the lab's sockets, outside and inside of every host.
	runRoot = "/run/dockstack-lab"
	// prefix begins every cgroup and every init's command line.
	prefix = "dslab-"
	// certsDir holds the certificates of the lab's etcd.
	certsDir = "etcd-certs"
)

// Root returns the checkout's top directory, found upwards from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "test", "lab")); err == nil {
				return dir, nil
			}
		}
		if dir == "/" {
			return "", errors.New("not inside a dockstack checkout: run this from within it")
		}
		dir = filepath.Dir(dir)
	}
}

// EngineBin returns the directory of the engine that `make engine` built.
func EngineBin() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "build", "engine", "bin")
	for _, name := range []string{"dockerd", "docker-proxy", "runc", "docker", "docker-compose"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return "", fmt.Errorf("the test engine lacks %s: run `make engine`", name)
		}
	}
	return bin, nil
}

func recordPath(id string) string { return filepath.Join(runRoot, id+".json") }
func lockPath(id string) string   { return filepath.Join(runRoot, id+".lock") }

// runDir is where a lab's sockets are: the main lab's hosts are directly under runRoot.
func runDir(id string) string {
	if id == Main {
		return runRoot
	}
	return filepath.Join(runRoot, id)
}

func underlayName(id string) string { return prefix + id + "-underlay" }

func readRecord(id string) (record, error) {
	var r record
	b, err := os.ReadFile(recordPath(id))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

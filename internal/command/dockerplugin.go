package command

import (
	"encoding/json"
	"slices"
	"strings"
)

// pluginName is what the program is called where it is a plugin of Docker's own
// command, as `docker dockstack`.
const pluginName = "docker-dockstack"

// pluginMetadata is the call by which Docker's command learns what a plugin is.
const pluginMetadata = "docker-cli-plugin-metadata"

// metadata is the answer.
type metadata struct {
	SchemaVersion    string
	Vendor           string
	Version          string
	ShortDescription string
	URL              string `json:",omitempty"`
}

// dockerFlags are docker's own flags that have a value. Docker hands on all that
// stood before the plugin's name.
var dockerFlags = []string{"--config", "-c", "--context", "-H", "--host", "-l", "--log-level", "--tlscacert", "--tlscert", "--tlskey"}

// asPlugin takes the words that Docker's command calls a plugin with, and returns
// those that are for us. Called by a person, words are taken as they are.
//
//	docker-dockstack docker-cli-plugin-metadata
//	docker-dockstack [docker's flags] dockstack ls …
//	docker-dockstack __complete dockstack l
func (a *app) asPlugin(args []string) ([]string, error) {
	if len(args) > 0 && args[0] == pluginMetadata {
		out, err := json.Marshal(metadata{SchemaVersion: "0.1.0", Vendor: "dockstack", Version: a.Version, ShortDescription: "Every container name keeps its address"})
		if err != nil {
			return nil, err
		}
		a.printf("%s\n", out)
		return nil, exit(ExitDone)
	}
	for i := 0; i < len(args); i++ {
		word := args[i]
		switch {
		case word == programName:
			a.called = "docker " + programName
			return slices.Concat(args[:i:i][:completing(args)], args[i+1:]), nil
		case strings.HasPrefix(word, "__complete"):
			if i > 0 {
				return args, nil
			}
		case slices.Contains(dockerFlags, word):
			i++
		case !strings.HasPrefix(word, "-"):
			return args, nil
		}
	}
	return args, nil
}

// completing is how many words before the plugin's name are for us.
func completing(args []string) int {
	if strings.HasPrefix(args[0], "__complete") {
		return 1
	}
	return 0
}

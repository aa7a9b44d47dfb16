// Command dockstack is the daemon inside the managed plugin, and the command with
// which operators ask it.
package main

import (
	"os"

	"github.com/dockstack/dockstack/internal/command"
	"github.com/dockstack/dockstack/internal/daemon"
)

// version is set by the build.
var version = "dev"

func main() {
	os.Exit(command.Main(version, func() int { return daemon.Main(version) }))
}

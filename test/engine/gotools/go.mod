// gofumpt and govulncheck, for `make lint`.
module github.com/dockstack/dockstack/test/engine/gotools

go 1.26.0

// govulncheck asks for a telemetry version that the module proxy does not give everywhere; the one before does as well.
replace golang.org/x/telemetry => golang.org/x/telemetry v0.0.0-20260908163034-4bcc4b2ee518

tool (
	golang.org/x/vuln/cmd/govulncheck
	mvdan.cc/gofumpt
)

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20261010193011-f71dc92da45e // indirect
	golang.org/x/tools v0.52.0 // indirect
	golang.org/x/vuln v1.9.0 // indirect
	mvdan.cc/gofumpt v0.12.0 // indirect
)

package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// options are what the command line says.
type options struct {
	command  string // list, dump-config-keys, remove, or "" to build
	bases    bool
	subs     bool
	images   words
	services words // base images with their sub-images
	kinds    words

	registry, tag string
	args          pairs

	root, logs, network, form              string
	jobs                                   int
	dryRun, noCache, push, pushOnly, under bool
}

// words is a flag that may be given several times, and with commas.
type words []string

func (w *words) String() string { return strings.Join(*w, ",") }

func (w *words) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*w = append(*w, word)
		}
	}
	return nil
}

// pairs is a flag KEY=VALUE that may be given several times; without a value it is that of the environment.
type pairs map[string]string

func (p *pairs) String() string { return fmt.Sprint(map[string]string(*p)) }

func (p *pairs) Set(text string) error {
	key, value, has := strings.Cut(text, "=")
	if key == "" {
		return errors.New("write it as KEY=VALUE")
	}
	if !has {
		value = os.Getenv(key)
	}
	if *p == nil {
		*p = pairs{}
	}
	(*p)[key] = value
	return nil
}

func parse(args []string, errs io.Writer) (*options, error) {
	o := &options{}
	if len(args) > 0 && slices.Contains([]string{"list", "dump-config-keys", "remove"}, args[0]) {
		o.command, args = args[0], args[1:]
	}
	f := flag.NewFlagSet("builder", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		sayf(errs, "%s", usage)
		f.PrintDefaults()
	}
	f.BoolVar(&o.bases, "b", false, "build all base images")
	f.BoolVar(&o.subs, "s", false, "build all sub-images")
	f.Var(&o.images, "c", "build the image of this `name`")
	f.Var(&o.services, "x", "build the base image of this `name` and its sub-images")
	f.Var(&o.kinds, "t", "only images of this `kind`: common, openstack or contrail")
	f.StringVar(&o.registry, "registry", "", "first part of the images' `names`, such as host:5000/dockstack (default: structure.yaml's)")
	f.StringVar(&o.tag, "tag", "", "`tag` of all images (default: structure.yaml's version of each kind)")
	f.Var(&o.args, "build-arg", "`KEY=VALUE` for the Dockerfiles that declare KEY; CONTRAIL_REGISTRY and CONTRAIL_TAG are where OpenSDN's images come from")
	f.StringVar(&o.network, "network", "", "network of the builds, such as host (default: docker's own)")
	f.BoolVar(&o.noCache, "no-cache", false, "build every layer again")
	f.BoolVar(&o.under, "under", false, "build what these stand on even if the engine has it: it may be an old one")
	f.BoolVar(&o.push, "push", false, "push each image when it is built")
	f.BoolVar(&o.pushOnly, "push-only", false, "push, and build nothing")
	f.IntVar(&o.jobs, "j", 2, "how many images to build at a time")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the commands in their order, and do nothing")
	f.StringVar(&o.root, "root", "", "folder of structure.yaml (default: contrail-images, or this one)")
	f.StringVar(&o.logs, "logs", "build/images", "`folder` for the output of each build")
	f.StringVar(&o.form, "o", "table", "of dump-config-keys: table, md (Markdown) or env (a file for Compose)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if err := o.check(f.Args()); err != nil {
		return nil, err
	}
	if o.command == "" && !o.bases && !o.subs && len(o.images)+len(o.services) == 0 {
		f.Usage()
		return nil, flag.ErrHelp
	}
	return o, nil
}

func (o *options) check(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%q is no verb: see builder -h", rest[0])
	}
	for _, kind := range o.kinds {
		if !slices.Contains(kinds, kind) {
			return fmt.Errorf("-t %s: the kinds are %s", kind, strings.Join(kinds, ", "))
		}
	}
	if o.jobs < 1 {
		return fmt.Errorf("-j %d: at least one image at a time", o.jobs)
	}
	if o.push && o.pushOnly {
		return errors.New("-push and -push-only: give one of them")
	}
	if !slices.Contains([]string{"table", "md", "env"}, o.form) {
		return fmt.Errorf("-o %s: the forms are table, md, env", o.form)
	}
	if o.root == "" {
		o.root = "contrail-images"
		if _, err := os.Stat("structure.yaml"); err == nil {
			o.root = "."
		}
	}
	o.root = filepath.Clean(o.root)
	return nil
}

// defaults are the names that structure.yaml gives.
func defaults(s *structure) names {
	return names{registry: s.registry, versions: maps.Clone(s.versions), upstream: s.versions["contrail"]}
}

// names of the images by the command line. The tag of OpenSDN's images is that of the images over them, unless -tag
// gives those another one.
func (o *options) names(s *structure) names {
	n := defaults(s)
	n.args = o.args
	n.registry = cmp.Or(strings.TrimSuffix(o.registry, "/"), n.registry)
	n.upstream = cmp.Or(o.args["CONTRAIL_TAG"], n.versions["contrail"])
	n.versions["contrail"] = n.upstream
	if o.tag != "" {
		for kind := range n.versions {
			n.versions[kind] = o.tag
		}
	}
	return n
}

package main

import (
	"context"
	"io"
	"slices"
	"strings"
)

// tree prints what stands on what.
type tree struct {
	out   io.Writer
	sizes map[string]*built
	under map[*image][]*image
}

// list prints the images as a tree, with the sizes of what the engine has.
func list(ctx context.Context, g *graph, out io.Writer) error {
	t := tree{out: out, sizes: inspect(ctx, g.images), under: map[*image][]*image{}}
	roots := map[string][]*image{}
	var order []string
	for _, i := range g.images {
		if i.parent != nil {
			t.under[i.parent] = append(t.under[i.parent], i)
			continue
		}
		base := i.upstream()
		if !slices.Contains(order, base) {
			order = append(order, base)
		}
		roots[base] = append(roots[base], i)
	}
	for _, base := range order {
		sayf(out, "%s\n", base)
		t.branches(roots[base], "")
	}
	return nil
}

// branches prints images that stand on the same one, and what stands on them.
func (t *tree) branches(images []*image, indent string) {
	for at, i := range images {
		branch, below := "├─ ", "│  "
		if at == len(images)-1 {
			branch, below = "└─ ", "   "
		}
		t.line(i, indent+branch+i.name)
		t.branches(t.under[i], indent+below)
	}
}

func (t *tree) line(i *image, name string) {
	size := "-"
	if one := t.sizes[i.ref]; one != nil {
		size = megabytes(one.Size)
	}
	padding := strings.Repeat(" ", max(0, 40-len([]rune(name))))
	sayf(t.out, "%s%s %8s  %s", name, padding, size, i.ref)
	for _, other := range i.on {
		if other != i.parent {
			sayf(t.out, "  and files of %s", other.name)
		}
	}
	sayf(t.out, "\n")
}

// upstream is what an image stands on that isn't ours.
func (i *image) upstream() string {
	found, err := i.file.references(i.args)
	if err != nil {
		return err.Error() // connect has reported it
	}
	for _, ref := range found {
		if ref.final {
			return ref.image
		}
	}
	return "scratch"
}

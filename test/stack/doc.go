// Package stack owns stacks that run: the compose files of compose/ with the images of contrail-images/, in lab hosts.
//
// Images are built once, by whichever engine DOCKER_HOST names, and copied from there into one template, a folder of
// the build directory. Each lab host begins with hard links to the template's files, which takes seconds and no room,
// however many images there are: an engine never changes a file of an image, it only removes its name.
package stack

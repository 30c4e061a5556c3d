package report

import (
	"encoding/base64"
	"html/template"
	"slices"

	"github.com/qualgent/qgjob"
)

// Bounds of the pictures that a page holds, in bytes before base64 adds a third. A screenshot of a phone is some 50 to 300 KiB.
const (
	MaxPicture  = 512 << 10
	MaxPictures = 8 << 20
)

// pictureTypes are what is shown as a picture. SVG is not among them: it can hold scripts.
var pictureTypes = []string{"image/png", "image/jpeg", "image/webp"}

// Pictures gives the bytes of a picture that an attempt left, nil when they cannot be had. It is asked for at most MaxPicture bytes.
type Pictures func(qgjob.Artifact) []byte

// embed puts the pictures of what did not plainly pass into the page: those of failed tests first, for they explain the verdict, then the
// rest in the order of the page, while there is room. A picture that is not in the page becomes a link: a browser asks for images without
// the token that a server may want, and a saved page has no server.
func embed(sections []sectionView, read Pictures) {
	room := MaxPictures
	for _, failedOnly := range []bool{true, false} {
		for s := range sections {
			for j := range sections[s].Jobs {
				if job := &sections[s].Jobs[j]; read != nil && job.Word != "passed" {
					job.embed(read, failedOnly, &room)
				}
			}
		}
	}
	for s := range sections {
		for j := range sections[s].Jobs {
			sections[s].Jobs[j].demote()
		}
	}
}

func (v *jobView) embed(read Pictures, failedOnly bool, room *int) {
	for i := range v.Tests {
		if failedOnly == (v.Tests[i].Word == "failed") {
			fill(v.Tests[i].Shots, read, room)
		}
	}
	if failedOnly {
		return
	}
	for i := range v.Attempts {
		fill(v.Attempts[i].Shots, read, room)
	}
}

// fill reads pictures. Each place on the page counts, also when one picture stands in two.
func fill(shots []fileView, read Pictures, room *int) {
	for i := range shots {
		f := &shots[i]
		if f.from.Size < 1 || f.from.Size > int64(min(MaxPicture, *room)) {
			continue
		}
		data := read(f.from)
		if len(data) == 0 || len(data) > min(MaxPicture, *room) {
			continue
		}
		*room -= len(data)
		f.Src = template.URL("data:" + f.from.ContentType + ";base64," + base64.StdEncoding.EncodeToString(data)) //nolint:gosec // one of pictureTypes and base64: nothing to escape
	}
}

// demote moves the pictures that have no bytes among the links.
func (v *jobView) demote() {
	for i := range v.Tests {
		v.Tests[i].Shots, v.Tests[i].Files = split(v.Tests[i].Shots, v.Tests[i].Files)
	}
	for i := range v.Attempts {
		v.Attempts[i].Shots, v.Attempts[i].Files = split(v.Attempts[i].Shots, v.Attempts[i].Files)
	}
}

func split(shots, files []fileView) (pictures, links []fileView) {
	for _, f := range shots {
		if f.Src != "" {
			pictures = append(pictures, f)
		} else {
			links = append(links, f)
		}
	}
	return pictures, slices.Concat(links, files)
}

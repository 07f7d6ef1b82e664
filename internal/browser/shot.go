package browser

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"slices"
)

// Screenshot is the page as PNG: what is in view, or all of it.
func (p *Page) Screenshot(ctx context.Context, whole bool) ([]byte, error) {
	var answer struct{ Data []byte } // base64, as encoding/json reads it
	err := p.call(ctx, "Page.captureScreenshot", arguments{"format": "png", "captureBeyondViewport": whole}, &answer)
	return answer.Data, err
}

// Small is a PNG of 256 colours at most, so that it can be kept in a repository.
func Small(shot []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		return nil, fmt.Errorf("read screenshot: %w", err)
	}
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	if err := e.Encode(&b, paletted(full)); err != nil {
		return nil, fmt.Errorf("write screenshot: %w", err)
	}
	return b.Bytes(), nil
}

// paletted draws an image with the 256 colours that it has most of. Text and areas of one
// colour have few; what is rare becomes the nearest of them.
func paletted(in image.Image) *image.Paletted {
	r := in.Bounds()
	count := map[color.RGBA]int{}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			count[rgba(in.At(x, y))]++
		}
	}
	all := make([]color.RGBA, 0, len(count))
	for c := range count {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var p color.Palette
	for _, c := range all[:min(len(all), 256)] {
		p = append(p, c)
	}
	index := map[color.RGBA]uint8{}
	for _, c := range all {
		index[c] = uint8(p.Index(c))
	}
	out := image.NewPaletted(r, p)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			out.SetColorIndex(x, y, index[rgba(in.At(x, y))])
		}
	}
	return out
}

func rgba(c color.Color) color.RGBA {
	r, g, b, _ := c.RGBA()
	return color.RGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255} // a page has no holes
}

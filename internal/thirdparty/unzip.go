package thirdparty

import (
	"archive/zip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// unzipObjects unpacks the *.o of a module's archive.
func unzipObjects(archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for i, f := range z.File {
		if !strings.HasSuffix(f.Name, ".o") {
			continue
		}
		if err := unzipOne(f, filepath.Join(dir, fmt.Sprint(i)), filepath.Base(f.Name)); err != nil {
			return err
		}
	}
	return nil
}

func unzipOne(f *zip.File, dir, name string) error {
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	const most = 64 << 20
	if _, err := io.Copy(out, io.LimitReader(in, most)); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

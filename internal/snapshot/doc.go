// Package snapshot is the one data model of lastgood.
//
// Everything that is observed, be it a probe program, a disk, a sensor or a
// network interface, is a [Subject] with attributes; what those attributes mean
// is declared once, as a [Kind], beside the code that reads them. Collecting,
// comparing, judging, reporting and exporting therefore know no subject by name.
//
// The package imports the standard library only, so that whatever works on
// results needs neither root nor a kernel.
package snapshot

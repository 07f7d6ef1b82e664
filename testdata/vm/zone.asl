DefinitionBlock ("zone.aml", "SSDT", 2, "LGOOD", "TZONE", 1)
{
  Scope (\_SB) {
    /* one reserved page (memmap=4K$0x20000000 on the kernel command line) holds the values, tenths of Kelvin */
    OperationRegion (TREG, SystemMemory, 0x20000000, 0x20)
    Field (TREG, DWordAcc, NoLock, Preserve) { TMPV, 32, FANS, 32 }
    PowerResource (PFAN, 0, 0) { Method (_STA) { Return (FANS) } Method (_ON) { Store (1, FANS) } Method (_OFF) { Store (0, FANS) } }
    Device (FAN0) { Name (_HID, EisaId ("PNP0C0B")) Name (_UID, 0) Name (_PR0, Package () { PFAN }) }
  }
  Scope (\_TZ) {
    ThermalZone (TZ00) {
      Name (_STR, Unicode ("lab zone"))
      Method (_TMP, 0, Serialized) { Return (\_SB.TMPV) }
      Method (_CRT) { Return (3732) }  /* 100.0 C */
      Method (_HOT) { Return (3632) }  /*  90.0 C */
      Method (_PSV) { Return (3582) }  /*  85.0 C */
      Method (_AC0) { Return (3482) }  /*  75.0 C */
      Name (_AL0, Package () { \_SB.FAN0 })
      Name (_PSL, Package () { })
      Name (_TC1, 2) Name (_TC2, 3) Name (_TSP, 20) Name (_TZP, 20)
    }
  }
}

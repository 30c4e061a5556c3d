package pgtest

import "syscall"

func dieWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = immediate }

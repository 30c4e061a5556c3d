package blob

import (
	"fmt"

	"github.com/qualgent/qgjob"
)

func (l Limits) checkRange(offset, total int64) error {
	switch {
	case total < 0:
		return qgjob.Invalid("total", fmt.Sprintf("total is %d bytes; it must be 0 or more", total))
	case offset < 0 || offset > total:
		return qgjob.Invalid("offset", fmt.Sprintf("offset is %d; it must lie between 0 and the total of %d bytes", offset, total))
	case total > l.MaxSize:
		return l.tooLarge(fmt.Sprintf("%d bytes are", total))
	}
	return nil
}

func (l Limits) tooLarge(what string) error {
	return &qgjob.Error{
		Kind: qgjob.KindInvalid, Code: qgjob.CodeTooLarge, Field: "total",
		Message: fmt.Sprintf("%s over the limit of %d bytes for one file", what, l.MaxSize),
		Hint:    "send a smaller file, or have the server's limit raised",
	}
}

// wrongTotal: the blob is here, and has another length than was announced.
func wrongTotal(sum qgjob.Sum, size, total int64) error {
	return qgjob.Invalid("total", fmt.Sprintf("blob %s is here with %d bytes, not %d; check the file's size and sum", sum, size, total))
}

// wrongOffset: the upload does not go on where it stands.
func wrongOffset(sum qgjob.Sum, here, offset int64) error {
	out := qgjob.Conflict(qgjob.CodeOffset, "upload of %s: %d bytes are here, not %d", sum, here, offset)
	out.Offset, out.Hint = here, fmt.Sprintf("send again from byte %d", here)
	return out
}

// cut: the sender broke off.
func cut(cause error, sum qgjob.Sum, received, total int64) error {
	out := qgjob.Unavailable(cause, "upload of %s was cut after %d of %d bytes", sum, received, total)
	out.Hint = fmt.Sprintf("send again from byte %d", received)
	return out
}

// tooMany: more bytes came than were announced.
func tooMany(sum qgjob.Sum, total int64) error {
	return qgjob.Invalid("total", fmt.Sprintf("upload of %s: more bytes came than the %d announced; nothing of this part was kept", sum, total))
}

// wrongSum: the bytes are not those of the name.
func wrongSum(sum, got qgjob.Sum, total int64) error {
	out := qgjob.Invalid("sha256", fmt.Sprintf("the %d bytes received have SHA-256 %s, not %s; they were thrown away", total, got, sum))
	out.Hint = "check that the file did not change while it was sent, and send it again from byte 0"
	return out
}

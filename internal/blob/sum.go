package blob

import (
	"encoding/hex"
	"hash"

	"github.com/qualgent/qgjob"
)

func sumFrom(h hash.Hash) qgjob.Sum { return qgjob.Sum(hex.EncodeToString(h.Sum(nil))) }

// valid refuses a sum that was converted from text instead of parsed. Sums
// become file names, so every method asks before it touches the disk.
func valid(sum qgjob.Sum) error {
	_, err := qgjob.ParseSum(string(sum))
	return err
}

// shelf is the directory of a finished blob. Two hundred and fifty-six of them
// keep each one small.
func shelf(sum qgjob.Sum) string { return string(sum[:2]) }

// whole is where the finished blob lies inside the folder.
func whole(sum qgjob.Sum) string { return shelf(sum) + "/" + string(sum) }

// partial is where the blob grows before it is whole.
func partial(sum qgjob.Sum) string { return partialDir + "/" + string(sum) }

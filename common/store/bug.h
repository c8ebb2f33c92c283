/* SPDX-License-Identifier: MPL-2.0 */
/*
 * bug - mistakes that can be built in, to prove that the crash tests find
 * them: -DCAIRN_BUG=BUG_...  Nothing of it is in a build without.
 */
#ifndef CAIRN_STORE_BUG_H
#define CAIRN_STORE_BUG_H

#define BUG_NONE 0
#define BUG_ANSWER_BEFORE_SYNC 1       /* a group is settled, then synced */
#define BUG_NO_DIRECTORY_SYNC 2        /* behind the rename of a segment */
#define BUG_NEXT_GROUP_BEFORE_SYNC 3   /* group k + 1 is written too early */
#define BUG_TABLE_BEFORE_SYNC 4        /* it has keys that are not durable */
#define BUG_CHECKSUM_NOT_CHECKED 5     /* of a whole group */
#define BUG_DAMAGE_CUT_OFF 6           /* as if it were a torn end */
#define BUG_BACKUP_NO_DIRECTORY_SYNC 7 /* behind the rename of a copy */

#ifndef CAIRN_BUG
#define CAIRN_BUG BUG_NONE
#endif

/* Constant, so that compilers leave out what it guards. */
#define BUG(name) (CAIRN_BUG == BUG_##name)

#endif

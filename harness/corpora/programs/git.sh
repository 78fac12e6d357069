# packages: git
# commands: git
# status: 0
# The checkout that this lies in: cloned, packed anew, checked, walked. Without a repository there, one is made of its files.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
export GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
if ! git clone -q --no-local "$ROOT" copy 2>/dev/null; then
    git init -q copy && cp -r "$ROOT/src" "$ROOT/harness/programs" copy && git -C copy add -A && git -C copy commit -qm all
fi
cd copy || exit 9
git gc -q --prune=now
[ "$SCALE" = 1 ] || git repack -adfq --depth=20
git fsck --full --strict 2>&1 | grep -v '^dangling'
git rev-list --objects --all | sort | cksum
git log -p --stat --format=%H | cksum
git blame HEAD -- src/lib.rs | cksum
git checkout -q -b other && git mv src/lib.rs src/other.rs && git commit -qam moved && git diff -M HEAD~1 | cksum
git grep -n 'fn ' | cksum
git archive HEAD | tar -t | cksum

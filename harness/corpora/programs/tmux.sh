# packages: tmux
# commands: tmux
# status: 0
# A server of its own, windows and panes, much output, what is on the screen.
export TMUX_TMPDIR=$PWD TERM=screen LC_ALL=C.UTF-8
unset TMUX
t() { tmux -L own -f /dev/null "$@"; }
t new-session -d -x 80 -y 24 'seq 1 3000; tmux -L own wait-for -S done; exec cat'
t wait-for done
for i in 1 2 3 4 5; do t new-window "seq 1 $((i * 300)); exec cat"; t split-window 'exec cat'; done
t list-windows -F '#{window_panes}'
t capture-pane -p -t :0 | tail -3
t set-buffer 'a text' && t show-buffer; echo
t kill-window -t :1
t kill-server
echo "status $?"

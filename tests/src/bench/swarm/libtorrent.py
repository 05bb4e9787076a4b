# Downloads a torrent, or seeds what is there, until it is killed; when all is there, the file that BT_DONE names says
# how many bytes came twice.
import os
import sys

import libtorrent as lt

kind, torrent, folder = sys.argv[1:]
settings = lt.high_performance_seed() if kind == "hp" else lt.default_settings()
settings.update({
    "listen_interfaces": "0.0.0.0:6881",
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "alert_mask": lt.alert.category_t.status_notification,
})
if kind == "hp":
    settings.update({"connection_speed": 500, "smooth_connects": False})
session = lt.session(settings)
handle = session.add_torrent({"ti": lt.torrent_info(torrent), "save_path": folder})
done = os.environ.get("BT_DONE")
while True:
    session.wait_for_alert(1000)
    ended = any(isinstance(alert, lt.torrent_finished_alert) for alert in session.pop_alerts())
    if ended and done:
        # Renamed into place: who sees the file sees what it says.
        with open(done + ".new", "w") as mark:
            mark.write(str(handle.status().total_redundant_bytes))
        os.rename(done + ".new", done)

"""A false world to try everything in: Apple's portal, the push service, MDM servers, devices.

It shares no code with the real side, so that a mistake there cannot hide behind the same mistake
here. It starts `renewctl` and the exporter as child processes, as a user would.

The file list is the world: `authority` (a fake Apple PKI), `portal` and `request_file` (Apple's push
certificates portal), `push_service`, `courier`, `apns_answers`, `tls` (Apple's push service),
`mdm_server`, `mdm_storage`, `mdm_pair`, `mdm_push` (NanoMDM v0.9.0 as observed), `devices` and
`device_messages`, `person` (who signs in at the portal), `worlds` (the list of scenarios),
`up`, `stage` and `inventory_file` (bring one up), `children` and `serving` (its processes).
"""

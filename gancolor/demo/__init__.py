"""`gancolor demo`: a page in the browser that colours photographs, served by this machine."""

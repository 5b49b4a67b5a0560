from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

admin.autodiscover()  # not before: commands do without (srvc.apps)

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
]
handler500 = "srvc.database_errors.server_error"
